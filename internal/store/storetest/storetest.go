// Package storetest holds an implementation of store.Store to the contract
// that package store writes down. Every implementation runs it.
//
// The tests share one store, run in parallel, and do not expect it to be
// empty: each makes campaigns with ids of its own and contacts whose addresses
// have a prefix of its own.
package storetest

import (
	"flag"
	"testing"

	"postern/internal/store"
)

// Harness is how the suite gets at an implementation.
type Harness struct {
	// Open gives a ready, empty store and leaves its closing to t.Cleanup. It
	// is called for the shared store, and once for each test that needs a
	// store to itself.
	Open func(t *testing.T) store.Store
	// Reopen closes a store that Open gave and opens the same state again, as
	// a restarted process would, leaving the closing of that to t.Cleanup.
	Reopen func(t *testing.T, s store.Store) store.Store
	// Damages are the ways in which a campaign's record can become
	// unreadable; each does that to one.
	Damages map[string]func(t *testing.T, s store.Store, campaignID string)
}

// Run holds the implementation to the contract.
func (h Harness) Run(t *testing.T) {
	keepRapidQuick(t)
	s := h.Open(t)
	for _, test := range shared() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(newKit(t, s))
		})
	}
	t.Run("model", func(t *testing.T) {
		t.Parallel()
		testModel(t, s)
	})
	t.Run("durable", func(t *testing.T) {
		t.Parallel()
		testDurable(t, h)
	})
	t.Run("damage", func(t *testing.T) {
		t.Parallel()
		h.testDamage(t)
	})
	for _, test := range alone() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(newKit(t, h.Open(t)))
		})
	}
}

// test is one test on a store.
type test struct {
	name string
	run  func(k kit)
}

// shared lists the tests on the shared store.
func shared() []test {
	var all []test
	all = append(all, contactTests()...)
	all = append(all, campaignTests()...)
	all = append(all, transitionTests()...)
	all = append(all, restartTests()...)
	all = append(all, leaseTests()...)
	all = append(all, chunkTests()...)
	all = append(all, statisticsTests()...)
	all = append(all, personTests()...)
	all = append(all, absorbTests()...)
	all = append(all, reopenTests()...)
	all = append(all, auditTests()...)
	all = append(all, cellTests()...)
	all = append(all, dueTests()...)
	return append(all, test{"times", testTimes}, test{"ping", testPing}, test{"ended context", testEndedContext})
}

// alone lists the tests that need a store to themselves.
func alone() []test {
	return []test{
		{"signal", testSignal},
		{"due/held ones first", testHeldFirst},
		{"due/many held ones", testManyHeld},
	}
}

func testPing(k kit) {
	k.ok(k.s.Ping(k.Context()), "Ping")
}

// keepRapidQuick lowers rapid's number of checks for the state machine, which
// also runs against databases where each call takes milliseconds. A number
// given on the command line stands.
func keepRapidQuick(t *testing.T) {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if given {
		return
	}
	if err := flag.Set("rapid.checks", "20"); err != nil {
		t.Fatal(err)
	}
}
