//go:build !unix

package app

func descriptorLimit() (limit uint64, known bool) { return 0, false }
