package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/store"
	"postern/internal/store/dynamo"
)

// rawWriters is how many raw checkpoints are under way at once: as many as a
// campaign's chunks may have.
const rawWriters = sources

// region is what DynamoDB Local is called by, which does not care.
const region = "us-east-1"

// tablePrefix gives a prefix for tables that nobody else has.
func tablePrefix() string { return "bench-" + rand.Text()[:12] + "-" }

// rawStore makes the requests of checkpoints by the AWS SDK alone: the same
// transactions, with the conditions that fence them, and nothing else that a
// campaign does.
type rawStore struct {
	db               *dynamodb.Client
	deliveries, work string
	rows             int
}

// prepareRawCheckpoints makes the leases. The tables are those of the campaigns,
// so that they grow for both alike.
func prepareRawCheckpoints(ctx context.Context, s spec) (func(context.Context) (int, error), error) {
	transport := &http.Transport{MaxIdleConnsPerHost: rawWriters}
	r := rawStore{
		rows: s.Rows, deliveries: s.TablePrefix + dynamo.TableDeliveries, work: s.TablePrefix + dynamo.TableWork,
		db: dynamodb.New(dynamodb.Options{
			Region: region, BaseEndpoint: aws.String(s.Addr), HTTPClient: &http.Client{Transport: transport},
			Credentials:                     credentials.NewStaticCredentialsProvider("local", "local", ""),
			DisableValidateResponseChecksum: true,
		}),
	}
	run := strings.ToLower(rand.Text())
	writers := make([]rawWriter, rawWriters)
	for i := range writers {
		writers[i] = rawWriter{rawStore: r, chunk: fmt.Sprintf("c#%s-0123456789#%d", run, i), totals: "t#" + run}
		if err := writers[i].acquire(ctx); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) (int, error) { return r.rows, write(ctx, writers) }, nil
}

// write has each writer take the next rows until there are none.
func write(ctx context.Context, writers []rawWriter) error {
	var next atomic.Int64
	faults := make([]error, len(writers))
	var group sync.WaitGroup
	for i := range writers {
		w := &writers[i]
		group.Go(func() {
			for faults[i] == nil {
				from := int(next.Add(store.MaxCheckpoint)) - store.MaxCheckpoint
				if from >= w.rows {
					return
				}
				faults[i] = w.checkpoint(ctx, from, min(from+store.MaxCheckpoint, w.rows))
			}
		})
	}
	group.Wait()
	return errors.Join(faults...)
}

// rawWriter holds a lease.
type rawWriter struct {
	rawStore

	chunk, totals string // partition keys
	version       int
}

func (w *rawWriter) acquire(ctx context.Context) error {
	_, err := w.db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &w.work, Item: item{
		"pk": text(w.chunk), "sk": text("lease"), "o": text("0123456789abcdef0123456789abcdef0123"), "f": number(1), "v": number(0),
		"n": number(500), "due_shard": text("held"), "due_at": number(0),
	}})
	return err
}

// linkOctets is what a recipient takes in a link of the audit trail: person,
// message digest, reply and time.
const linkOctets = 68

// checkpoint is a transaction of rows, a lease, a shard of totals and a link of
// the audit trail, with the sizes that the store's have.
func (w *rawWriter) checkpoint(ctx context.Context, from, to int) error {
	parts := []types.TransactWriteItem{w.lease(), w.count(to - from), w.link(linkOctets * (to - from))}
	for i := from; i < to; i++ {
		parts = append(parts, put(w.deliveries, item{
			"chunk": text(w.chunk), "i": number(i), "a": text(fmt.Sprintf("reader%07d@rcpt.example", i)), "s": text("sent"),
			"t": number(1), "r": text("250 2.0.0 Ok"), "m": text("0123456789abcdef0123456789abcdef@sender.example"),
			"h": octets(sha256.Size), "u": number(1700000000000),
		}))
	}
	w.version++
	_, err := w.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
		TransactItems: parts,
		// For the metrics; DynamoDB Local takes a seventh longer with it.
		ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	})
	return err
}

// lease moves the lease on if it is still held: a set of settled recipients, a
// stamp, and the end of the audit trail's chain.
func (w *rawWriter) lease() types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: &w.work, Key: item{"pk": text(w.chunk), "sk": text("lease")},
		UpdateExpression:    aws.String("SET v=:next,w=:stamp,wv=:next,s=:settled,al=:next,ah=:head REMOVE si,sc,d"),
		ConditionExpression: aws.String("v=:v AND f=:f AND attribute_not_exists(x)"),
		ExpressionAttributeValues: item{
			":v": number(w.version), ":f": number(1), ":next": number(w.version + 1), ":stamp": octets(16), ":settled": octets(63),
			":head": octets(sha256.Size),
		},
	}}
}

func (w *rawWriter) count(sent int) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: &w.work, Key: item{"pk": text(w.totals), "sk": text(w.chunk)},
		UpdateExpression:          aws.String("SET u=:u ADD sent :sent"),
		ExpressionAttributeValues: item{":u": number(1700000000000), ":sent": number(sent)},
	}}
}

func (w *rawWriter) link(size int) types.TransactWriteItem {
	part := put(w.work, item{
		"pk": text(w.chunk), "sk": text(fmt.Sprintf("link#%012d", w.version)), "h": octets(sha256.Size), "p": octets(size),
	})
	part.Put.ConditionExpression = aws.String("attribute_not_exists(pk)")
	return part
}

type item = map[string]types.AttributeValue

func put(table string, it item) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{TableName: &table, Item: it}}
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: fmt.Sprint(n)}
}

func octets(n int) types.AttributeValue {
	return &types.AttributeValueMemberB{Value: make([]byte, n)}
}
