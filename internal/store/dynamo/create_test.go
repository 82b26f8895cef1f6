package dynamo

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"postern/internal/campaign"
	"postern/internal/store"
)

// workItems counts the items of EmailWork by the kind that leads their key.
func workItems(t *testing.T, s *Store) map[string]int {
	t.Helper()
	out, err := s.db.Scan(t.Context(), &dynamodb.ScanInput{
		TableName: aws.String(s.work), ConsistentRead: aws.Bool(true), ProjectionExpression: aws.String("pk"),
	})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, it := range out.Items {
		if pk := text(it["pk"]); pk != "adopted" {
			kinds[pk[:2]]++
		}
	}
	return kinds
}

func wantItems(t *testing.T, s *Store, want map[string]int) {
	t.Helper()
	if got := workItems(t, s); !reflect.DeepEqual(got, want) {
		t.Fatalf("work items are %v, want %v", got, want)
	}
}

// made is what one campaign of newCampaign leaves: control lease and the first
// link of the audit trail, listing row, four pieces, reservation or key.
func made(kind string) map[string]int {
	return map[string]int{"c#": 2, "ca": 1, "b#": 4, kind: 1}
}

func TestCreateWithLostAnswers(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		spoil func(p *proxy)
		fails bool // the first call
	}{
		{"reservation once", func(p *proxy) { p.first(1, opPut, fault{drop: true}) }, false},
		{"two pieces", func(p *proxy) {
			p.follow(func(op string) fault { return fault{drop: op == opPut && (p.seen[op] == 2 || p.seen[op] == 4)} })
		}, false},
		{"transaction once", func(p *proxy) { p.first(1, opTransact, fault{drop: true}) }, false},
		// The reservation tells that the transaction was applied.
		{"transaction always", func(p *proxy) { p.all(fault{drop: true}, opTransact) }, false},
		{"transaction and clearing up", func(p *proxy) { p.all(fault{drop: true}, opTransact, opDelete) }, true},
	}
	for _, c := range cases {
		for _, key := range []string{"", "key"} {
			t.Run(c.name+" with key "+key, func(t *testing.T) {
				t.Parallel()
				p, s, direct := through(t)
				n := newCampaign(t)
				n.IdempotencyKey = key
				c.spoil(p)
				_, created, err := s.CreateCampaign(t.Context(), n)
				if c.fails {
					wantCode(t, err, campaign.CodeUnavailable)
					p.follow(nil)
					_, created, err = s.CreateCampaign(t.Context(), n)
				}
				if err != nil || !created {
					t.Fatalf("created %v, error %v", created, err)
				}
				kind := map[string]string{"": "a#", "key": "k#"}[key]
				wantItems(t, direct, made(kind))
				got := must[[]byte](t)(direct.GetContent(t.Context(), n.Campaign.ID, "bb"))
				if len(got) != len(n.Content["bb"]) {
					t.Fatalf("content has %d octets", len(got))
				}
			})
		}
	}
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, op := range []string{opPut, opTransact} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			p, s, direct := through(t)
			n := newCampaign(t)
			n.IdempotencyKey = "key"
			p.follow(func(got string) fault {
				if got == op && (op == opTransact || p.seen[op] > 3) {
					return fault{code: "AccessDeniedException", message: "no"}
				}
				return fault{}
			})
			_, _, err := s.CreateCampaign(t.Context(), n)
			wantCode(t, err, campaign.CodeUnavailable)
			wantItems(t, direct, map[string]int{})
			p.follow(nil)
			again := newCampaign(t)
			again.IdempotencyKey = "key"
			if _, created, err := s.CreateCampaign(t.Context(), again); err != nil || !created {
				t.Fatalf("the key is not free again: created %v, error %v", created, err)
			}
		})
	}
}

// TestDeadAcceptor: an acceptor that died holds the key for some minutes; who
// comes then deletes what it left.
func TestDeadAcceptor(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := open(t, func(c *Config) { c.Now = func() time.Time { return now } })
	dead := newCampaign(t)
	dead.IdempotencyKey = "key"
	a := must[acceptance](t)(newAcceptance(dead))
	must[string](t)(s.reserve(t.Context(), a))
	if err := s.putContent(t.Context(), dead.Campaign.ID, a.content); err != nil {
		t.Fatal(err)
	}
	next := newCampaign(t)
	next.IdempotencyKey = "key"
	_, _, err := s.CreateCampaign(t.Context(), next)
	wantCode(t, err, campaign.CodeConflict)
	for _, digest := range []string{dead.RequestDigest, "another"} {
		_, err = s.FindByKey(t.Context(), "key", digest)
		wantCode(t, err, campaign.CodeConflict)
	}

	now = now.Add(reservedFor + 2*time.Second)
	_, err = s.FindByKey(t.Context(), "key", next.RequestDigest)
	wantCode(t, err, campaign.CodeNotFound)
	if _, created, err := s.CreateCampaign(t.Context(), next); err != nil || !created {
		t.Fatalf("created %v, error %v", created, err)
	}
	wantItems(t, s, made("k#"))

	// The first acceptor was only slow: it must not make its campaign now.
	wantCode(t, s.accept(t.Context(), a), campaign.CodeConflict)
	_, err = s.GetCampaign(t.Context(), dead.Campaign.ID)
	wantCode(t, err, campaign.CodeNotFound)
}

// TestForgottenKey: FindByKey and CreateCampaign agree on when a key has run
// out, to the second.
func TestForgottenKey(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := open(t, func(c *Config) { c.Now = func() time.Time { return now } })
	create := func() (id, made string) {
		n := newCampaign(t)
		n.IdempotencyKey, n.RequestDigest = "key", "digest"
		c, _, err := s.CreateCampaign(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return n.Campaign.ID, c.ID
	}
	first, _ := create()

	now = now.Add(store.IdempotencyFor)
	if got := must[string](t)(s.FindByKey(t.Context(), "key", "digest")); got != first {
		t.Fatalf("the key finds campaign %s, want %s", got, first)
	}
	if _, made := create(); made != first {
		t.Fatalf("the key made campaign %s, want %s", made, first)
	}

	now = now.Add(time.Second)
	for _, digest := range []string{"digest", "another"} {
		_, err := s.FindByKey(t.Context(), "key", digest)
		wantCode(t, err, campaign.CodeNotFound)
	}
	second, made := create()
	if made != second {
		t.Fatalf("the forgotten key gave campaign %s", made)
	}
	if got := must[string](t)(s.FindByKey(t.Context(), "key", "digest")); got != second {
		t.Fatalf("the key finds campaign %s, want %s", got, second)
	}
}

func TestLargeSelection(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	n := newCampaign(t)
	n.Content = nil
	for i := range 200_000 {
		n.Campaign.Audience.Addresses = append(n.Campaign.Audience.Addresses, fmt.Sprintf("%x.%d@example.org", i*7919, i))
	}
	if _, _, err := s.CreateCampaign(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	got := must[campaign.Campaign](t)(s.GetCampaign(t.Context(), n.Campaign.ID))
	if !reflect.DeepEqual(got.Audience.Addresses, n.Campaign.Audience.Addresses) {
		t.Fatalf("%d addresses came back", len(got.Audience.Addresses))
	}
	if pieces := workItems(t, s)["b#"]; pieces < 2 {
		t.Fatalf("the selection takes %d pieces: too small to test with", pieces)
	}
}

func TestKnownKeyAfterTheEnd(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	n := newCampaign(t)
	n.IdempotencyKey, n.Campaign.Relay.SealedPassword = "key", []byte("sealed")
	if _, _, err := s.CreateCampaign(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	for _, to := range []campaign.Status{campaign.StatusInProgress, campaign.StatusCompleted} {
		must[campaign.Campaign](t)(s.Transition(t.Context(), n.Campaign.ID, store.Transition{To: to, At: time.Now()}))
	}
	again := newCampaign(t)
	again.IdempotencyKey = "key"
	c, created, err := s.CreateCampaign(t.Context(), again)
	if err != nil || created || c.ID != n.Campaign.ID || c.Status != campaign.StatusCompleted {
		t.Fatalf("campaign %+v, created %v, error %v", c, created, err)
	}
	if len(c.Relay.SealedPassword) != 0 {
		t.Fatal("the password outlived the campaign")
	}
}
