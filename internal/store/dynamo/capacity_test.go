package dynamo

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"

	"postern/internal/campaign"
	"postern/internal/store"
)

// meter adds up the write units of a store's calls. What a single write took,
// the server says. For a transaction DynamoDB Local names the units of one of
// its items only, so the items are written once more, one by one: a
// transaction takes twice that. The due index takes one for each entry that
// goes and one for each that comes.
type meter struct {
	plain *Store // to write by, unmetered
	mu    sync.Mutex
	units float64
	parts []types.TransactWriteItem
}

func (m *meter) install(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("meter", m.measure), middleware.Before)
}

func (m *meter) measure(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
	middleware.InitializeOutput, middleware.Metadata, error,
) {
	switch parameters := in.Parameters.(type) {
	case *dynamodb.UpdateItemInput:
		parameters.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
		out, metadata, err := next.HandleInitialize(ctx, in)
		if err == nil {
			m.add(*out.Result.(*dynamodb.UpdateItemOutput).ConsumedCapacity.CapacityUnits)
		}
		return out, metadata, err
	case *dynamodb.TransactWriteItemsInput:
		before := m.due(ctx, parameters.TransactItems)
		out, metadata, err := next.HandleInitialize(ctx, in)
		for i, after := range m.due(ctx, parameters.TransactItems) {
			m.add(indexUnits(before[i], after))
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.parts = append(m.parts, parameters.TransactItems...)
		return out, metadata, err
	}
	return next.HandleInitialize(ctx, in)
}

func (m *meter) add(units float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.units += units
}

// due gives each part's entry in the due index; "" where it has none.
func (m *meter) due(ctx context.Context, parts []types.TransactWriteItem) []string {
	entries := make([]string, len(parts))
	for i, part := range parts {
		if table, key := written(part); table == m.plain.work {
			it, _, _ := m.plain.getItem(ctx, table, key)
			entries[i] = text(it[attrDueShard]) + text(it[attrDueAt])
		}
	}
	return entries
}

func indexUnits(before, after string) (units float64) {
	if before == after {
		return 0
	}
	if before != "" {
		units++
	}
	if after != "" {
		units++
	}
	return units
}

// written names the item that a part of a transaction is about.
func written(part types.TransactWriteItem) (table string, key item) {
	switch {
	case part.Update != nil:
		return *part.Update.TableName, part.Update.Key
	case part.ConditionCheck != nil:
		return *part.ConditionCheck.TableName, part.ConditionCheck.Key
	case part.Put.Item["pk"] != nil:
		return *part.Put.TableName, item{"pk": part.Put.Item["pk"], "sk": part.Put.Item["sk"]}
	}
	return *part.Put.TableName, item{rowChunk: part.Put.Item[rowChunk], rowIndex: part.Put.Item[rowIndex]}
}

// writes gives the write units that do consumes.
func (m *meter) writes(t *testing.T, do func()) float64 {
	t.Helper()
	m.units, m.parts = 0, nil
	do()
	for _, part := range m.parts {
		m.units += m.transacted(t, part)
	}
	return m.units
}

func (m *meter) transacted(t *testing.T, part types.TransactWriteItem) float64 {
	t.Helper()
	table, key := written(part)
	it, found, err := m.plain.getItem(t.Context(), table, key)
	if err != nil || !found {
		t.Fatalf("an item of a transaction: found %v, error %v", found, err)
	}
	out, err := m.plain.db.PutItem(t.Context(), &dynamodb.PutItemInput{
		TableName: &table, Item: it, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	})
	if err != nil {
		t.Fatal(err)
	}
	return 2 * *out.ConsumedCapacity.CapacityUnits
}

// metered gives a store whose calls go over a meter.
func metered(t *testing.T) (*meter, *Store) {
	t.Helper()
	m := &meter{plain: open(t, nil)}
	client := dynamodb.New(m.plain.db.Options(), func(o *dynamodb.Options) {
		o.APIOptions = append(o.APIOptions, m.install)
	})
	return m, open(t, func(c *Config) { c.Client, c.TablePrefix, c.CreateTables = client, m.plain.prefix, false })
}

// typical is a chunk as the engine freezes them: five full checkpoints, with
// results that are as long as a relay's usual ones.
func typical() (campaign.Audience, store.Checkpoint) {
	const size = 5 * store.MaxCheckpoint
	audience := campaign.Audience{Fields: []string{"first_name", "company"}}
	results := checkpoint(size, size)
	for i := range results.Deliveries {
		d := &results.Deliveries[i]
		digest := sha256.Sum256([]byte(d.Address))
		d.Digest, d.Person = digest[:], campaign.Person{Key: campaign.KeyID{1}, Digest: campaign.PersonDigest(digest[16:])}
		d.Reply = fmt.Sprintf("250 2.0.0 Ok: queued as 4bXyZ%05dz9AbC on mx1.relay.example.org", i)
		audience.Recipients = append(audience.Recipients, campaign.Recipient{
			Address: results.Deliveries[i].Address, Values: []string{fmt.Sprint("Firstname", i), "A Company with a Name, Ltd."},
		})
	}
	return audience, results
}

// chunkLife is what a chunk takes from its freezing to its end, in write units.
type chunkLife struct{ freeze, acquire, checkpoints, renewals, finish, statistics, mark float64 }

func (l chunkLife) sum() float64 {
	return l.freeze + l.acquire + l.checkpoints + l.renewals + l.finish + l.statistics + l.mark
}

// renewals is how often a chunk's lease is renewed beside its checkpoints: for
// about a minute at a third of the lease time.
const renewals = 20

// live takes a typical chunk from its freezing to its end. Sent are the
// contacts whose statistics change.
func (m *meter) live(t *testing.T, s *Store, sent []store.Sent) (l chunkLife) {
	t.Helper()
	audience, results := typical()
	holder := control(t, m.plain)
	key := store.LeaseKey{CampaignID: holder.Key.CampaignID, Number: 1}
	var held store.Lease
	l.freeze = m.writes(t, func() {
		chunk := store.Chunk{Size: len(audience.Recipients), Packed: audience.Pack(), DueAt: time.Now()}
		must[store.Lease](t)(s.AddChunk(t.Context(), holder, chunk, "cursor"))
	})
	l.acquire = m.writes(t, func() { held = hold(t, s, key) })
	for rows := range slices.Chunk(results.Deliveries, store.MaxCheckpoint) {
		cp := store.Checkpoint{Deliveries: rows, Progress: results.Progress}
		one := m.writes(t, func() { held = must[store.Lease](t)(s.Checkpoint(t.Context(), held, cp)) })
		if most := 2.0*store.MaxCheckpoint + 4 + 20; one > most {
			t.Errorf("a checkpoint of %d rows takes %v write units, the bound is %v", len(rows), one, most)
		}
		l.checkpoints += one
	}
	l.renewals = m.writes(t, func() {
		for range renewals {
			held = must[store.Lease](t)(s.RenewLease(t.Context(), held))
		}
	})
	l.finish = m.writes(t, func() { held = must[store.Lease](t)(s.FinishChunk(t.Context(), held)) })
	l.statistics = m.writes(t, func() {
		if err := s.CountSent(t.Context(), key.CampaignID, sent); err != nil {
			t.Fatal(err)
		}
	})
	l.mark = m.writes(t, func() { must[store.Lease](t)(s.MarkCounted(t.Context(), held)) })
	return l
}

// TestCapacity holds a chunk's whole life to 2.5 write units a recipient, and
// one more for the contact's statistics.
func TestCapacity(t *testing.T) {
	t.Parallel()
	m, s := metered(t)
	audience, _ := typical()
	keys := make([]string, len(audience.Recipients))
	changes := make([]campaign.ContactChange, len(keys))
	for i, r := range audience.Recipients {
		changes[i] = campaign.ContactChange{Address: r.Address, Set: map[string]string{"first_name": r.Values[0], "company": r.Values[1]}}
		keys[i] = changes[i].Key()
	}
	if err := m.plain.UpsertContacts(t.Context(), changes, time.Now()); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		sent []store.Sent
		most float64
	}{
		{"without statistics", nil, 2.5},
		{"with statistics", sentNow(keys...), 3.5},
	}
	for _, c := range cases {
		l := m.live(t, s, c.sent)
		per := l.sum() / float64(len(keys))
		t.Logf("%s, %d recipients: freeze %v, acquire %v, checkpoints %v, %d renewals %v, finish %v, statistics %v, mark %v: %.3f write units a recipient",
			c.name, len(keys), l.freeze, l.acquire, l.checkpoints, renewals, l.renewals, l.finish, l.statistics, l.mark, per)
		if l.freeze == 0 || l.acquire == 0 || l.checkpoints == 0 || l.renewals != renewals || l.finish == 0 || l.mark != 1 {
			t.Errorf("%s: something was not measured: %+v", c.name, l)
		}
		if l.statistics != float64(len(c.sent)) {
			t.Errorf("%s: statistics of %d contacts take %v write units", c.name, len(c.sent), l.statistics)
		}
		if per > c.most {
			t.Errorf("%s: %.3f write units a recipient, the bound is %v", c.name, per, c.most)
		}
	}
}

// wantUnits holds a call to its price in the package comment.
func (m *meter) wantUnits(t *testing.T, what string, want float64, do func()) {
	t.Helper()
	if got := m.writes(t, do); got != want {
		t.Errorf("%s takes %v write units, want %v", what, got, want)
	}
}

// pausedWith makes a paused campaign with one shelved chunk, of whose
// recipients the first ones have failed.
func pausedWith(t *testing.T, s *Store, failed int) (chunkKey store.LeaseKey) {
	t.Helper()
	held := chunk(t, s, store.MaxChunkRecipients)
	cp := checkpoint(store.MaxChunkRecipients, failed)
	for i := range cp.Deliveries {
		cp.Deliveries[i].State = campaign.DeliveryFailed
	}
	held = must[store.Lease](t)(s.Checkpoint(t.Context(), held, cp))
	must[campaign.Campaign](t)(s.Transition(t.Context(), held.Key.CampaignID, store.Transition{To: campaign.StatusPaused, At: time.Now()}))
	must[store.Lease](t)(s.CloseLease(t.Context(), held, campaign.StatusPaused))
	return held.Key
}

// TestRarerCapacity measures what happens to few chunks.
func TestRarerCapacity(t *testing.T) {
	t.Parallel()
	m, s := metered(t)
	const rows = 10
	held := chunk(t, m.plain, store.MaxChunkRecipients)
	m.wantUnits(t, "letting a lease go", 3, func() { must[store.Lease](t)(s.ReleaseLease(t.Context(), held, time.Now())) })
	m.wantUnits(t, "taking a lease", 3, func() { held = hold(t, s, held.Key) })
	m.wantUnits(t, "absorbing", 2*rows+6, func() {
		if err := s.Absorb(t.Context(), held.Key, checkpoint(store.MaxChunkRecipients, rows).Deliveries); err != nil {
			t.Fatal(err)
		}
	})
	held = must[store.Lease](t)(s.GetLease(t.Context(), held.Key))
	m.wantUnits(t, "shelving a chunk", 5, func() { must[store.Lease](t)(s.CloseLease(t.Context(), held, campaign.StatusPending)) })

	reopen := func(what string, want float64, states ...campaign.DeliveryState) {
		t.Helper()
		id := pausedWith(t, m.plain, rows).CampaignID
		r := store.Restart{From: campaign.StatusPaused, To: campaign.StatusPending, States: states, At: time.Now(), DueAt: time.Now()}
		must[campaign.Campaign](t)(m.plain.Restart(t.Context(), id, r))
		control := hold(t, m.plain, store.LeaseKey{CampaignID: id})
		m.wantUnits(t, what, want, func() { must[store.Lease](t)(s.ReopenChunk(t.Context(), control, time.Now())) })
	}
	reopen("reopening a chunk", 5)
	reopen("reopening a chunk for a retry", 9, campaign.DeliveryFailed)
}

// TestDeferredCapacity: a chunk all of whose recipients are greylisted keeps a
// small lease.
func TestDeferredCapacity(t *testing.T) {
	t.Parallel()
	m, s := metered(t)
	held := chunk(t, s, store.MaxChunkRecipients)
	cp := checkpoint(store.MaxChunkRecipients, 0)
	for i := range store.MaxChunkRecipients {
		cp.Progress.Deferred = append(cp.Progress.Deferred, campaign.Deferred{
			Index: i, Attempts: 1, Next: held.DueAt,
			Reply: fmt.Sprintf("451 4.7.1 <recipient%d@example.org>: Recipient address rejected: Greylisted, try again later", i),
		})
	}
	held = must[store.Lease](t)(s.Checkpoint(t.Context(), held, cp))
	renewed := m.writes(t, func() { must[store.Lease](t)(s.RenewLease(t.Context(), held)) })
	t.Logf("renewal of a lease with %d deferred recipients: %v write units", store.MaxChunkRecipients, renewed)
	if renewed > 20 {
		t.Errorf("a renewal takes %v write units, the bound is 20", renewed)
	}
}
