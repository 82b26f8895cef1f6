package app_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.etcd.io/bbolt"

	"postern/internal/client"
)

// damager makes the record of a campaign unreadable behind the store's back.
type damager interface {
	damageCampaign(t *testing.T, id string)
}

func (f storedFile) damageCampaign(t *testing.T, id string) {
	t.Helper()
	f.update(t, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("campaigns"))
		record := slices.Clone(b.Get([]byte(id)))
		return b.Put([]byte(id), record[:len(record)/2])
	})
}

func (s storedTables) damageCampaign(t *testing.T, id string) {
	t.Helper()
	_, err := s.db.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName:                 aws.String(s.prefix + "EmailCampaigns"),
		Key:                       map[string]types.AttributeValue{"campaign_id": &types.AttributeValueMemberS{Value: id}},
		UpdateExpression:          aws.String("SET audience = :a"),
		ConditionExpression:       aws.String("attribute_exists(audience)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":a": &types.AttributeValueMemberB{Value: []byte{0xff}}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDamagedCampaign: one campaign whose record cannot be read costs itself,
// and nobody is told that all is well.
func TestDamagedCampaign(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			env := b.env(t)
			same := backend{b.name, func(*testing.T) map[string]string { return env }}
			s, relay := withPeople(t, same)
			older, bad, newer := s.complete(t, simpleLetter()), s.complete(t, simpleLetter()), s.complete(t, simpleLetter())
			for _, id := range []string{older, bad, newer} {
				s.audited(t, id, 1) // nothing more is written
			}
			s.stopCleanly(t)
			storedOf(t, env).(damager).damageCampaign(t, bad)

			s = start(t, env, relayEnv(t, relay))
			s.listsWithout(t, bad, newer, older)
			s.saysDamaged(t, bad)
			s.erasesWithout(t, bad)
			if id := s.complete(t, simpleLetter()); id == "" || strings.Contains(s.log.String(), strings.ToLower(eve)) {
				t.Error("nothing can be sent beside a damaged campaign, or the log names her")
			}
			s.stopCleanly(t)

			s = start(t, env, relayEnv(t, relay), map[string]string{"DELIVERY_RETENTION": "1ms"})
			for _, id := range []string{older, newer} { // on either side of the damaged one
				s.watch(t, id, func(st client.Status) bool { return !st.ExpiredAt.IsZero() })
			}
		})
	}
}

// listsWithout holds that lists have the others, say which one is missing, and
// that the log and the metrics do.
func (s *service) listsWithout(t *testing.T, bad string, want ...string) {
	t.Helper()
	var page struct {
		Campaigns []struct {
			ID string `json:"campaign_id"`
		}
		Count   int
		Damaged []string
	}
	if err := s.Call(t.Context(), http.MethodGet, "campaigns", nil, &page); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range page.Campaigns {
		got = append(got, c.ID)
	}
	if !slices.Equal(got, want) || page.Count != len(want) || !slices.Equal(page.Damaged, []string{bad}) {
		t.Errorf("listed %+v; want %q, without %s", page, want, bad)
	}
	if log := s.log.String(); !strings.Contains(log, "was passed over") || !strings.Contains(log, bad) {
		t.Errorf("the log does not say so: %s", log)
	}
	if _, metrics := fetch(t, s, s.metrics+"/metrics"); !strings.Contains(metrics, "\npostern_damaged_campaigns_met_total 1\n") {
		t.Error("the metrics do not count it once")
	}
}

// saysDamaged holds that whoever asks for the campaign learns what to do.
func (s *service) saysDamaged(t *testing.T, bad string) {
	t.Helper()
	for path, method := range map[string]string{
		"campaign-status/" + bad: http.MethodGet, "campaigns/" + bad + "/deliveries": http.MethodGet,
		"campaigns/" + bad + "/audit": http.MethodGet, "campaigns/" + bad + "/cancel": http.MethodPost,
		"campaigns/" + bad + "/retry": http.MethodPost,
	} {
		err := s.Call(t.Context(), method, path, nil, nil)
		for _, says := range []string{"500", bad, "damaged", "backup", "troubleshooting"} {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s %s: %v; want an error that says %s", method, path, err, says)
			}
		}
	}
}

// erasesWithout holds that a person is found and erased elsewhere, and that the
// answers say where nobody could look.
func (s *service) erasesWithout(t *testing.T, bad string) {
	t.Helper()
	type answer struct {
		Deliveries       []struct{}
		Incomplete       []string
		Remaining        []string
		Damaged          []string
		RecipientsErased int `json:"recipients_erased"`
		Complete         bool
	}
	var found, erased answer
	s.person(t, http.MethodGet, &found)
	if len(found.Deliveries) != 2 || found.Complete || !slices.Equal(found.Incomplete, []string{bad}) || !slices.Equal(found.Damaged, []string{bad}) {
		t.Errorf("the export is %+v", found)
	}
	s.person(t, http.MethodDelete, &erased)
	if erased.RecipientsErased != 2 || erased.Complete || !slices.Equal(erased.Remaining, []string{bad}) || !slices.Equal(erased.Damaged, []string{bad}) {
		t.Errorf("the erasing said %+v", erased)
	}
}
