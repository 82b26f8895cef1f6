package dynamo

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"postern/internal/campaign"
	"postern/internal/store"
	"postern/internal/store/dynamo/dynamotest"
	"postern/internal/store/storetest"
)

// open gives a store with tables of its own.
func open(t testing.TB, change func(*Config)) *Store {
	t.Helper()
	c := Config{Endpoint: dynamotest.Endpoint(t), TablePrefix: dynamotest.Prefix(), CreateTables: true}
	if change != nil {
		change(&c)
	}
	if c.Client == nil {
		c.Client = patient(t, c)
	}
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// patient gives a client that waits longer for an answer than a task does:
// DynamoDB Local shares the machine with the tests, and some of them count
// requests.
func patient(t testing.TB, c Config) *dynamodb.Client {
	t.Helper()
	client, closeIdle, err := newClient(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeIdle)
	client.Options().HTTPClient.(*http.Client).Timeout = time.Minute
	return client
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Harness{
		Open: func(t *testing.T) store.Store { return open(t, nil) },
		Reopen: func(t *testing.T, s store.Store) store.Store {
			before := s.(*Store)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, func(c *Config) { c.TablePrefix, c.CreateTables = before.prefix, false })
		},
		Damages: damages(),
	}.Run(t)
}

// damages are what can become of a campaign's item.
func damages() map[string]func(t *testing.T, s store.Store, id string) {
	change := func(edit func(u *update)) func(t *testing.T, s store.Store, id string) {
		return func(t *testing.T, s store.Store, id string) {
			t.Helper()
			u := newUpdate()
			edit(u)
			d := s.(*Store)
			if still, err := d.updated(t.Context(), d.campaigns, campaignKey(id), u); err != nil || !still {
				t.Fatal(still, err)
			}
		}
	}
	return map[string]func(t *testing.T, s store.Store, id string){
		"a status that is none":   change(func(u *update) { u.set(attrStatus, str("qaused")) }),
		"no status":               change(func(u *update) { u.remove(attrStatus) }),
		"a damaged selection":     change(func(u *update) { u.set(attrAudience, bin([]byte{0xff, 1, 2})) }),
		"no selection":            change(func(u *update) { u.remove(attrAudience) }),
		"a selection that is out": change(func(u *update) { u.set(attrAudience, str(contentAudience)) }),
	}
}

// TestMissingItem: a campaign whose item is gone is not there, and its listing
// says so: what else is stored of it may name persons.
func TestMissingItem(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	held := control(t, s)
	id := held.Key.CampaignID
	in := &dynamodb.DeleteItemInput{TableName: aws.String(s.campaigns), Key: campaignKey(id)}
	if _, err := s.db.DeleteItem(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	page, err := s.ListCampaigns(t.Context(), "", 10)
	if err != nil || len(page.Campaigns) > 0 || len(page.Damaged) != 1 || page.Damaged[0].ID != id {
		t.Fatalf("listed %+v, %v", page, err)
	}
	wantCode(t, page.Damaged[0].Err, campaign.CodeDamaged)
	_, err = s.GetCampaign(t.Context(), id)
	wantCode(t, err, campaign.CodeNotFound)
}
