package dynamo

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"postern/internal/store"
)

// dueCursors remembers, for each shard of the due index, behind which entry
// the next answer begins. Held leases stay in the index with the due time that
// they had, so an answer that always began with the earliest would show a
// reader with a small limit the same held ones for ever. Going round shows it
// every lease in turn.
type dueCursors struct {
	mu    sync.Mutex
	first int             // shard whose turn it is
	after [dueShards]item // key of the last entry that was named; nil for the start
}

func newDueCursors() *dueCursors { return &dueCursors{} }

// start gives where an answer begins, and moves the turn on.
func (d *dueCursors) start() (first int, after [dueShards]item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first = d.first
	d.first = (d.first + 1) % dueShards
	return first, d.after
}

func (d *dueCursors) named(shard int, entry item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.after[shard] = entry
}

// dueQuery asks for entries of a shard of the due index.
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

// DueLeases implements store.Work. It reads all shards at once and takes from
// them in turn.
func (s *Store) DueLeases(ctx context.Context, now time.Time, limit int) ([]store.LeaseKey, error) {
	first, after := s.due.start()
	var shards [dueShards][]item
	err := forEach(ctx, dueShards, func(ctx context.Context, i int) error {
		entries, err := s.dueFrom(ctx, dueQuery{shard: dueShard(uint32(i)), now: now, after: after[i], limit: limit})
		shards[i] = entries
		return err
	})
	if err != nil {
		return nil, err
	}
	var keys []store.LeaseKey
	for depth := range limit {
		for i := range dueShards {
			shard := (first + i) % dueShards
			if depth >= len(shards[shard]) || len(keys) == limit {
				continue
			}
			entry := shards[shard][depth]
			s.due.named(shard, entry)
			if key, ok := leaseKeyOf(text(entry["pk"])); ok {
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}

// dueFrom reads a shard from behind the cursor to its end and, where that is
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
