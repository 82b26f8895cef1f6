package bolt

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

const benchWorkers = 8

// heldChunks freezes n chunks of size recipients and holds them all.
func heldChunks(tb testing.TB, s *Store, n, size int) []store.Lease {
	tb.Helper()
	ctx, id := context.Background(), fmt.Sprintf("01900000-0000-7000-8000-%012x", time.Now().UnixNano()&0xffffffffffff)
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	_, _, err := s.CreateCampaign(ctx, store.NewCampaign{Campaign: campaign.Campaign{ID: id, Status: campaign.StatusPending, CreatedAt: time.Now()}})
	must(err)
	acquire := func(number int) store.Lease {
		seen, err := s.GetLease(ctx, store.LeaseKey{CampaignID: id, Number: number})
		must(err)
		held, err := s.AcquireLease(ctx, seen, "bench")
		must(err)
		return held
	}
	control := acquire(0)
	leases := make([]store.Lease, n)
	for i := range leases {
		control, err = s.AddChunk(ctx, control, store.Chunk{Size: size, Packed: make([]byte, 40*size), DueAt: time.Now()}, "")
		must(err)
		leases[i] = acquire(i + 1)
	}
	return leases
}

// rows gives deliveries like those of a campaign with a real relay.
func rows(from, to int) []campaign.Delivery {
	out := make([]campaign.Delivery, 0, to-from)
	now := time.Now()
	for i := from; i < to; i++ {
		out = append(out, campaign.Delivery{
			Index: i, Address: fmt.Sprintf("Firstname.Lastname%06d@example.org", i), State: campaign.DeliverySent, Attempts: 1,
			Reply:     "250 2.0.0 Ok: queued as 4ZkQ0B1Xm8z2xKv",
			MessageID: fmt.Sprintf("0190f7c2a3b47c8d9e0f%06d.1@postern.example.org", i), UpdatedAt: now,
			Digest: make([]byte, 32),
		})
	}
	return out
}

// BenchmarkCheckpoint writes full checkpoints of 98 rows from 8 chunks at a
// time and reports rows a second.
func BenchmarkCheckpoint(b *testing.B) {
	for _, workers := range []int{1, benchWorkers, 32} {
		b.Run(fmt.Sprint("workers=", workers), func(b *testing.B) {
			s := openIn(b, b.TempDir())
			held := heldChunks(b, s, workers, store.MaxChunkRecipients)
			cp := store.Checkpoint{
				Deliveries: rows(0, store.MaxCheckpoint),
				Progress:   campaign.Progress{Settled: campaign.NewBitmap(store.MaxChunkRecipients)},
			}
			b.ReportAllocs()
			b.ResetTimer()
			var group sync.WaitGroup
			for w := range workers {
				group.Go(func() {
					for range b.N / workers {
						var err error
						if held[w], err = s.Checkpoint(b.Context(), held[w], cp); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			done := b.N / workers * workers
			b.ReportMetric(float64(done*store.MaxCheckpoint)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkCountSent counts 500 contacts a call among 100,000.
func BenchmarkCountSent(b *testing.B) {
	const people, size = 100_000, 500
	s := openIn(b, b.TempDir())
	keys, sent := importPeople(b, s, people), make([]store.Sent, size)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		from := i * size % people
		for j, key := range keys[from : from+size] {
			sent[j] = store.Sent{Key: key, At: time.Now()}
		}
		if err := s.CountSent(b.Context(), fmt.Sprint("campaign ", i), sent); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "contacts/s")
}

func importPeople(tb testing.TB, s *Store, n int) []string {
	tb.Helper()
	changes, keys := make([]campaign.ContactChange, n), make([]string, n)
	for i := range changes {
		changes[i] = campaign.ContactChange{
			Address: fmt.Sprintf("person%06d@example.org", i),
			Set:     map[string]string{"first_name": "Firstname", "last_name": "Lastname", "company": "Some Company Ltd"},
		}
		keys[i] = changes[i].Key()
	}
	if err := s.UpsertContacts(context.Background(), changes, time.Now()); err != nil {
		tb.Fatal(err)
	}
	return keys
}

// BenchmarkUpsertContacts imports new contacts, 1,000 a call.
func BenchmarkUpsertContacts(b *testing.B) {
	s := openIn(b, b.TempDir())
	b.ReportAllocs()
	b.ResetTimer()
	importPeople(b, s, b.N)
}

// BenchmarkListContacts reads 100,000 contacts in pages of 500.
func BenchmarkListContacts(b *testing.B) {
	s := openIn(b, b.TempDir())
	importPeople(b, s, 100_000)
	b.ReportAllocs()
	b.ResetTimer()
	cursor := ""
	for n := 0; n < b.N; n += 500 {
		var err error
		if _, cursor, err = s.ListContacts(b.Context(), cursor, 500); err != nil {
			b.Fatal(err)
		}
	}
}
