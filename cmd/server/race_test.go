//go:build race

package main

// raceDetector: the program takes several times the memory that it takes
// without.
const raceDetector = true
