// Package importtest holds Postern's packages to their import arrows: which
// of them may import which, and which library has its one home where. The
// tables are in arrows_test.go; ARCHITECTURE.md says why the arrows run so.
package importtest
