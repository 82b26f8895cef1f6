package dynamo

import (
	"context"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/store"
)

// benchHolders is how many chunks are written to at a time.
const benchHolders = 8

// BenchmarkCheckpoint writes full checkpoints, and beside them transactions of
// the same items and sizes by the SDK alone.
func BenchmarkCheckpoint(b *testing.B) {
	b.Run("raw", func(b *testing.B) { benchmarkCheckpoint(b, rawCheckpoint) })
	b.Run("store", func(b *testing.B) {
		benchmarkCheckpoint(b, func(b *testing.B, s *Store) func(context.Context) error {
			held, cp := chunk(b, s, store.MaxChunkRecipients), fullCheckpoint()
			return func(ctx context.Context) (err error) {
				held, err = s.Checkpoint(ctx, held, cp)
				return err
			}
		})
	})
}

func fullCheckpoint() store.Checkpoint {
	_, results := typical()
	results.Deliveries = results.Deliveries[:store.MaxCheckpoint]
	return results
}

// benchmarkCheckpoint has each of the holders make one write after the other.
func benchmarkCheckpoint(b *testing.B, holder func(b *testing.B, s *Store) func(context.Context) error) {
	s := open(b, nil)
	writes := make([]func(context.Context) error, benchHolders)
	for i := range writes {
		writes[i] = holder(b, s)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var group sync.WaitGroup
	for i, write := range writes {
		group.Go(func() {
			for n := i; n < b.N; n += benchHolders {
				if err := write(b.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N*store.MaxCheckpoint)/b.Elapsed().Seconds(), "rows/s")
}

// rawCheckpoint puts the items of a checkpoint, which are made beforehand:
// rows, a lease and a shard of totals.
func rawCheckpoint(b *testing.B, s *Store) func(context.Context) error {
	held := chunk(b, s, store.MaxChunkRecipients)
	cp := fullCheckpoint()
	held = must[store.Lease](b)(s.Checkpoint(b.Context(), held, cp))
	parts := s.rowParts(held.Key, cp.Deliveries)
	for _, key := range []item{leaseItemKey(held.Key), totalsKey(held.Key)} {
		it, found, err := s.getItem(b.Context(), s.work, key)
		if err != nil || !found {
			b.Fatalf("nothing to write: %v", err)
		}
		parts = append(parts, types.TransactWriteItem{Put: &types.Put{TableName: &s.work, Item: it}})
	}
	return func(ctx context.Context) error {
		_, err := s.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: parts})
		return err
	}
}
