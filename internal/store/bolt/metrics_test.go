package bolt

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/internal/campaign"
	"postern/internal/store"
)

// TestMetrics: calls by operation and outcome, commits with their writes, and
// the size of the file.
func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	s, err := OpenMeasured(t.TempDir(), reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.UpsertContacts(t.Context(), []campaign.ContactChange{{Address: "a@example.org"}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetLease(t.Context(), store.LeaseKey{CampaignID: "none"}); campaign.CodeOf(err) != campaign.CodeNotFound {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"postern_store_call_duration_seconds update ok": 1, "postern_store_call_duration_seconds view refused": 1,
		"postern_store_commit_duration_seconds": 1, "postern_store_commit_writes": 1,
	} {
		if got[name] != want {
			t.Errorf("%s: %v; want %v of %v", name, got[name], want, got)
		}
	}
	if octets := got["postern_store_file_bytes"]; octets < 4096 {
		t.Errorf("the file has %v octets", octets)
	}
}
