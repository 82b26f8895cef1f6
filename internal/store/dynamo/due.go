package dynamo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"postern/internal/store"
)

// Partitions of the due index. Leases that are held stand in one of their own,
// so that a reader finds them all with one query and free ones are not behind
// them. It is written twice for each holder, however long he holds.
const (
	shardHeld = "due#held"
	// dueShards is how many partitions share the free leases.
	dueShards = 8
	// duePartitions are the shards and, behind them, the held leases' own.
	duePartitions = dueShards + 1
)

func duePartition(n int) string {
	if n == dueShards {
		return shardHeld
	}
	return fmt.Sprintf("due#%d", n)
}

// freeShard is where a lease stands in the due index while it is free.
func freeShard(key store.LeaseKey) string { return duePartition(int(spread(key, dueShards))) }

// dueCursors remembers, for each partition of the due index, behind which
// entry the next answer begins. What is due may stay due, and an answer that
// always began with the earliest would show a reader with a small limit the
// same entries for ever. Going round shows it every lease in turn.
type dueCursors struct {
	mu    sync.Mutex
	first int                 // shard whose turn it is
	after [duePartitions]item // key of the last entry that was named; nil for the start
}

func newDueCursors() *dueCursors { return &dueCursors{} }

// start gives where an answer begins, and moves the turn on.
func (d *dueCursors) start() (first int, after [duePartitions]item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first = d.first
	d.first = (d.first + 1) % dueShards
	return first, d.after
}

// move goes on behind what an answer has taken. A partition that it has taken
// whole begins at its start again, which saves the next answer a query.
func (d *dueCursors) move(found [duePartitions][]item, taken [duePartitions]int, limit int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, entries := range found {
		n := taken[i]
		if n == len(entries) && n < dueShare(i, limit) {
			d.after[i] = nil
		} else if n > 0 {
			d.after[i] = entries[n-1]
		}
	}
}

// dueQuery asks for entries of a partition of the due index.
type dueQuery struct {
	shard string
	now   time.Time
	after item // nil from the start
	limit int
}

func (s *Store) queryDue(ctx context.Context, q dueQuery) ([]item, error) {
	out, err := s.db.Query(ctx, &dynamodb.QueryInput{
		TableName: aws.String(s.work), IndexName: aws.String(IndexDue),
		KeyConditionExpression:    aws.String(attrDueShard + "=:shard AND " + attrDueAt + "<=:now"),
		ExpressionAttributeValues: item{":shard": str(q.shard), ":now": millis(q.now)},
		ExclusiveStartKey:         q.after, Limit: clamp(q.limit),
	})
	if err != nil {
		return nil, err
	}
	return out.Items, nil
}

// DueLeases implements store.Work. It reads all partitions at once.
func (s *Store) DueLeases(ctx context.Context, now time.Time, limit int) ([]store.LeaseKey, error) {
	first, after := s.due.start()
	var found [duePartitions][]item
	err := forEach(ctx, duePartitions, func(ctx context.Context, i int) error {
		q := dueQuery{shard: duePartition(i), now: now, after: after[i], limit: dueShare(i, limit)}
		entries, err := s.dueFrom(ctx, q)
		found[i] = entries
		return err
	})
	if err != nil {
		return nil, err
	}
	var a dueAnswer
	for _, entry := range found[dueShards] {
		a.take(dueShards, entry)
	}
	a.takeInTurn(found[:dueShards], first, limit)
	s.due.move(found, a.taken, limit)
	return a.keys, nil
}

// dueShare is how many entries of a partition an answer takes: up to three
// quarters of it are held leases, and shards that are not empty are about
// alike. Where one has more than twice its part, and more than a few, what is
// beyond waits for its turn.
func dueShare(partition, limit int) int {
	const few = 64
	if partition == dueShards {
		return max(1, limit*3/4)
	}
	return min(limit, few+2*limit/dueShards)
}

// dueAnswer is an answer in the making.
type dueAnswer struct {
	keys  []store.LeaseKey
	named map[store.LeaseKey]bool
	taken [duePartitions]int // entries by partition
}

// take names the lease of a partition's next entry. One that changes hands
// while the partitions are read may be found in two of them.
func (a *dueAnswer) take(partition int, entry item) {
	a.taken[partition]++
	key, ok := leaseKeyOf(text(entry["pk"]))
	if !ok || a.named[key] {
		return
	}
	if a.named == nil {
		a.named = map[store.LeaseKey]bool{}
	}
	a.named[key] = true
	a.keys = append(a.keys, key)
}

// takeInTurn takes the shards' entries, one of each at a time, until there are
// limit keys.
func (a *dueAnswer) takeInTurn(shards [][]item, first, limit int) {
	for depth := range limit {
		for i := range shards {
			shard := (first + i) % len(shards)
			if depth < len(shards[shard]) && len(a.keys) < limit {
				a.take(shard, shards[shard][depth])
			}
		}
	}
}

// dueFrom reads a partition from behind the cursor to its end and, where that is
// not enough, goes on from its start up to the cursor.
func (s *Store) dueFrom(ctx context.Context, q dueQuery) ([]item, error) {
	if integer(q.after[attrDueAt]) > q.now.UnixMilli() { // DynamoDB refuses to start behind the end
		q.after = nil
	}
	c := call{opQuery, s.work + "/index/" + IndexDue}
	entries, err := s.queryDue(ctx, q)
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	if q.after == nil || len(entries) >= q.limit {
		return entries, nil
	}
	q.after = nil
	again, err := s.queryDue(ctx, q)
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return join(entries, again, q.limit), nil
}

// join adds the entries of again that are not among the first ones.
func join(first, again []item, limit int) []item {
	seen := map[string]bool{}
	for _, entry := range first {
		seen[text(entry["pk"])] = true
	}
	for _, entry := range again {
		if len(first) < limit && !seen[text(entry["pk"])] {
			first = append(first, entry)
		}
	}
	return first
}
