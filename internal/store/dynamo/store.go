package dynamo

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"postern/internal/store"
)

// Config says where the tables are.
type Config struct {
	// Client is used as it is where it is set; Region and Endpoint are for
	// the client that Open makes otherwise.
	Client *dynamodb.Client
	// Region is the AWS region; "" for the environment's.
	Region string
	// Endpoint is the base URL of another DynamoDB than the region's, such as
	// DynamoDB Local. Where the environment has no credentials then, made-up
	// ones are used.
	Endpoint string
	// TablePrefix stands before each table's name.
	TablePrefix string
	// CreateTables makes tables that are missing, for local use. Without it
	// Open fails when one is missing.
	CreateTables bool
	// Registerer takes the metrics of the client that Open makes; nil for none.
	Registerer prometheus.Registerer
	// Now is the clock behind idempotency records and the times of totals;
	// nil for time.Now.
	Now func() time.Time
}

// Store keeps Postern's state in DynamoDB.
type Store struct {
	db        *dynamodb.Client
	closeIdle func() // nothing where the client was given
	now       func() time.Time

	prefix                                string
	contacts, campaigns, deliveries, work string

	due *dueCursors
}

var _ store.Store = (*Store)(nil)

// Open connects to the tables and makes sure that they are there.
// CodeUnavailable with what to do where they are not.
func Open(ctx context.Context, c Config) (*Store, error) {
	s, err := attach(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := s.ready(ctx, c.CreateTables); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// attach makes a store that has not been in touch with its tables.
func attach(ctx context.Context, c Config) (*Store, error) {
	s := &Store{
		db: c.Client, now: c.Now, prefix: c.TablePrefix,
		contacts: c.TablePrefix + TableContacts, campaigns: c.TablePrefix + TableCampaigns,
		deliveries: c.TablePrefix + TableDeliveries, work: c.TablePrefix + TableWork,
		due: newDueCursors(), closeIdle: func() {},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.db == nil {
		var err error
		if s.db, s.closeIdle, err = newClient(ctx, c); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Store) ready(ctx context.Context, create bool) error {
	if create {
		if err := s.createTables(ctx); err != nil {
			return err
		}
	}
	if err := s.Ping(ctx); err != nil {
		return err
	}
	return s.adopt(ctx)
}

// Close closes idle connections.
func (s *Store) Close() error {
	s.closeIdle()
	return nil
}

// fanOut is how many single-item calls one method has under way at once: far
// below what a table takes, and enough to hide the round trip.
const fanOut = 16

// forEach calls do for 0..n-1, some at once, and gives the first error.
func forEach(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fanOut)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}
