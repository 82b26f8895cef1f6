package dynamo

import (
	"errors"
	"maps"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/prometheus/client_golang/prometheus"

	"postern/internal/campaign"
)

// counted adds the samples of a metric up by one label.
func counted(t *testing.T, reg prometheus.Gatherer, name, label string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label {
					sums[l.GetValue()] += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
	}
	return sums
}

// TestMetrics: what calls took, of a server that throttles twice, and a
// condition that does not hold.
func TestMetrics(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	reg := prometheus.NewPedanticRegistry()
	s := open(t, func(c *Config) { c.Endpoint, c.Registerer = p.url, reg })
	key := person(t, s, "metrics@example.org")
	before := counted(t, reg, "postern_store_call_duration_seconds", "operation")

	p.first(2, opBatchGet, throttled())
	contactOfKey(t, s, key)
	_, err := s.UpdateContact(t.Context(), campaign.ContactChange{Address: "nobody@example.org"}, s.now())
	wantCode(t, err, campaign.CodeNotFound)
	lease := control(t, s)
	stale := lease
	stale.Version--
	if _, err := s.RenewLease(t.Context(), stale); campaign.CodeOf(err) != campaign.CodeConflict {
		t.Fatalf("a renewal at an old version: %v", err)
	}

	want := map[string]float64{opBatchGet: 2, opGet: 0, opPut: 0, opUpdate: 0, opDelete: 0, opQuery: 0, opScan: 0, opTransact: 0}
	for _, name := range []string{"postern_store_throttles_total", "postern_store_retries_total"} {
		if got := counted(t, reg, name, "operation"); !maps.Equal(got, want) {
			t.Errorf("%s = %v; want %v", name, got, want)
		}
	}
	after := counted(t, reg, "postern_store_call_duration_seconds", "operation")
	if calls := after[opBatchGet] - before[opBatchGet]; calls != 1 {
		t.Errorf("%v calls of %s; want the one, whatever attempts it took", calls, opBatchGet)
	}
	if outcomes := counted(t, reg, "postern_store_call_duration_seconds", "outcome"); outcomes["refused"] == 0 || outcomes["ok"] == 0 {
		t.Errorf("outcomes %v", outcomes)
	}
	charged := counted(t, reg, "postern_store_consumed_capacity_units_total", "table")
	for _, table := range []string{TableContacts, TableWork, TableCampaigns} {
		if charged[table] <= 0 {
			t.Errorf("nothing was charged on %s: %v", table, charged)
		}
	}
	if operations := counted(t, reg, "postern_store_consumed_capacity_units_total", "operation"); operations[opTransact] <= 0 {
		t.Errorf("transactions were charged nothing: %v", operations)
	}
}

func TestIsThrottle(t *testing.T) {
	t.Parallel()
	cancelledBy := func(code string) error {
		return &types.TransactionCanceledException{CancellationReasons: []types.CancellationReason{
			{Code: aws.String("None")}, {Code: aws.String(code)},
		}}
	}
	for want, errs := range map[bool][]error{
		true: {
			&types.ProvisionedThroughputExceededException{}, &types.RequestLimitExceeded{}, &types.ThrottlingException{},
			cancelledBy("ThrottlingError"), cancelledBy("ProvisionedThroughputExceeded"),
		},
		false: {
			nil, errors.New("no answer"), &types.ConditionalCheckFailedException{},
			cancelledBy(reasonCondition), cancelledBy("TransactionConflict"),
		},
	} {
		for _, err := range errs {
			if got := isThrottle(err); got != want {
				t.Errorf("isThrottle(%v) = %v", err, got)
			}
		}
	}
}
