package dynamo

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"

	"postern/internal/campaign"
	"postern/internal/store"
)

// meter adds up the write units of a store's calls. What a single write took,
// the server says. For a transaction DynamoDB Local names the units of one of
// its items only, so the items are written once more, one by one: a
// transaction takes twice that.
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
	update, single := in.Parameters.(*dynamodb.UpdateItemInput)
	if single {
		update.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	}
	out, metadata, err := next.HandleInitialize(ctx, in)
	m.mu.Lock()
	defer m.mu.Unlock()
	if transaction, is := in.Parameters.(*dynamodb.TransactWriteItemsInput); is {
		m.parts = append(m.parts, transaction.TransactItems...)
	}
	if single && err == nil {
		m.units += *out.Result.(*dynamodb.UpdateItemOutput).ConsumedCapacity.CapacityUnits
	}
	return out, metadata, err
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
	var table string
	var it item
	var index float64
	if part.Put != nil {
		table, it = *part.Put.TableName, part.Put.Item
		if it[attrDueShard] != nil {
			index = 1 // a new entry of the due index
		}
	} else {
		table = *part.Update.TableName
		var err error
		if it, _, err = m.plain.getItem(t.Context(), table, part.Update.Key); err != nil {
			t.Fatal(err)
		}
	}
	out, err := m.plain.db.PutItem(t.Context(), &dynamodb.PutItemInput{
		TableName: &table, Item: it, ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes,
	})
	if err != nil {
		t.Fatal(err)
	}
	return 2**out.ConsumedCapacity.Table.CapacityUnits + index
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

// TestCapacity holds the write path to about two write units a recipient, and
// one more for the contact's statistics.
func TestCapacity(t *testing.T) {
	t.Parallel()
	m, s := metered(t)
	const size = 490 // five full checkpoints
	free := control(t, s)

	audience := campaign.Audience{Fields: []string{"first_name", "company"}}
	full := checkpoint(size, size)
	for i, d := range full.Deliveries {
		audience.Recipients = append(audience.Recipients, campaign.Recipient{
			Address: d.Address, Values: []string{fmt.Sprint("Firstname", i), "A Company with a Name, Ltd."},
		})
	}
	added := m.writes(t, func() {
		must[store.Lease](t)(s.AddChunk(t.Context(), free, store.Chunk{Size: size, Packed: audience.Pack()}, "cursor"))
	})
	held := hold(t, s, store.LeaseKey{CampaignID: free.Key.CampaignID, Number: 1})
	var checkpoints float64
	for from := 0; from < size; from += store.MaxCheckpoint {
		cp := store.Checkpoint{Deliveries: full.Deliveries[from : from+store.MaxCheckpoint], Progress: full.Progress}
		one := m.writes(t, func() { held = must[store.Lease](t)(s.Checkpoint(t.Context(), held, cp)) })
		if most := 2.0*store.MaxCheckpoint + 4; one > most {
			t.Errorf("a checkpoint of %d rows takes %v write units, the bound is %v", store.MaxCheckpoint, one, most)
		}
		checkpoints += one
	}
	renewed := m.writes(t, func() { held = must[store.Lease](t)(s.RenewLease(t.Context(), held)) })
	t.Logf("write units a recipient: audience %.3f, results %.3f; renewal %v", added/size, checkpoints/size, renewed)
	if added == 0 || checkpoints == 0 {
		t.Fatal("nothing was measured")
	}
	if got := (added + checkpoints) / size; got > 2.25 {
		t.Errorf("%.3f write units a recipient, the bound is 2.25", got)
	}
	if renewed > 1 {
		t.Errorf("a renewal takes %v write units, the bound is 1", renewed)
	}
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
