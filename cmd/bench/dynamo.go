package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

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

// rawStore writes what checkpoints write by the AWS SDK alone: without
// conditions, leases or anything read.
type rawStore struct {
	db               *dynamodb.Client
	deliveries, work string
	rows             int
}

// prepareRawCheckpoints makes tables as the store has them.
func prepareRawCheckpoints(ctx context.Context, s spec) (func(context.Context) (int, error), error) {
	transport := &http.Transport{MaxIdleConnsPerHost: rawWriters}
	r := rawStore{rows: s.Rows, db: dynamodb.New(dynamodb.Options{
		Region: region, BaseEndpoint: aws.String(s.Addr), HTTPClient: &http.Client{Transport: transport},
		Credentials:                     credentials.NewStaticCredentialsProvider("local", "local", ""),
		DisableValidateResponseChecksum: true,
	})}
	prefix := tablePrefix()
	r.deliveries, r.work = prefix+dynamo.TableDeliveries, prefix+dynamo.TableWork
	definitions := dynamo.Tables(prefix)
	for i := range definitions {
		name := *definitions[i].TableName
		if name != r.deliveries && name != r.work {
			continue
		}
		if _, err := r.db.CreateTable(ctx, &definitions[i]); err != nil {
			return nil, err
		}
		in := &dynamodb.DescribeTableInput{TableName: &name}
		if err := dynamodb.NewTableExistsWaiter(r.db).Wait(ctx, in, time.Minute); err != nil {
			return nil, err
		}
	}
	return r.write, nil
}

func (r rawStore) write(ctx context.Context) (int, error) {
	var next atomic.Int64
	faults := make([]error, rawWriters)
	var group sync.WaitGroup
	for i := range rawWriters {
		group.Go(func() {
			for faults[i] == nil {
				from := int(next.Add(store.MaxCheckpoint)) - store.MaxCheckpoint
				if from >= r.rows {
					return
				}
				_, faults[i] = r.db.TransactWriteItems(ctx, r.checkpoint(i, from, min(from+store.MaxCheckpoint, r.rows)))
			}
		})
	}
	group.Wait()
	return r.rows, errors.Join(faults...)
}

// linkOctets is what a recipient takes in a link of the audit trail: person,
// message digest, reply and time.
const linkOctets = 68

// checkpoint is a transaction of rows, a lease, a shard of totals and a link of
// the audit trail, with the sizes that the store's have.
func (r rawStore) checkpoint(writer, from, to int) *dynamodb.TransactWriteItemsInput {
	chunk := fmt.Sprintf("0123456789abcdef0123456789abcdef#%06d", from)
	parts := []types.TransactWriteItem{
		put(r.work, item{
			"pk": text(fmt.Sprintf("c#%s-%d", chunk[:32], writer)), "sk": text("lease"), "settled": octets(63),
			"owner": text("0123456789abcdef0123456789abcdef0123"), "fence": number(1), "version": number(from),
			"stamp": octets(16), "stamped": number(from), "size": number(500), "due_shard": text("held"), "due_at": number(253402300799000),
			"links": number(from), "head": octets(sha256.Size),
		}),
		put(r.work, item{
			"pk": text("t#" + chunk[:32]), "sk": text(fmt.Sprintf("%02d", writer)), "sent": number(from), "u": number(1700000000000),
		}),
	}
	parts = append(parts, put(r.work, item{
		"pk": text(fmt.Sprintf("c#%s-%d", chunk[:32], writer)), "sk": text(fmt.Sprintf("link#%012d", from)),
		"h": octets(sha256.Size), "p": octets(linkOctets * (to - from)),
	}))
	for i := from; i < to; i++ {
		parts = append(parts, put(r.deliveries, item{
			"chunk": text(chunk), "i": number(i), "a": text(fmt.Sprintf("reader%07d@rcpt.example", i)), "s": text("sent"),
			"t": number(1), "r": text("250 2.0.0 Ok"), "m": text("0123456789abcdef0123456789abcdef@sender.example"),
			"h": octets(32), "u": number(1700000000000),
		}))
	}
	return &dynamodb.TransactWriteItemsInput{TransactItems: parts}
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
