package dynamo

import (
	"testing"

	"postern/internal/store"
	"postern/internal/store/dynamo/dynamotest"
	"postern/internal/store/storetest"
)

// open gives a store with tables of its own.
func open(t testing.TB, change func(*Config)) *Store {
	t.Helper()
	c := Config{Endpoint: dynamotest.Endpoint(t), TablePrefix: dynamotest.Prefix(), CreateTables: true}
	if change != nil {
		change(&c)
	}
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Harness{
		Open: func(t *testing.T) store.Store { return open(t, nil) },
		Reopen: func(t *testing.T, s store.Store) store.Store {
			before := s.(*Store)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, func(c *Config) { c.TablePrefix, c.CreateTables = before.prefix, false })
		},
	}.Run(t)
}
