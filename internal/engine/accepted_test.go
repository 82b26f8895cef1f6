package engine

import (
	"strings"
	"testing"

	"postern/internal/campaign"
	"postern/internal/store"
)

// TestLetterOfAnEarlierVersion: a campaign that was accepted with a field at a
// place where none is accepted any more is sent as it was.
func TestLetterOfAnEarlierVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.contacts(t, 1)
	s := letter()
	c, err := r.campaignOf(s)
	if err != nil {
		t.Fatal(err)
	}
	s.HTML = "<!-- {{first_name}} --><p>{{email}}</p>"
	_, _, err = r.Submit(t.Context(), s)
	code(t, "today", err, campaign.CodeInvalid, "body")
	if c.Letter, err = r.sealLetter(c.ID, s); err != nil {
		t.Fatal(err)
	}
	_, _, err = r.store.CreateCampaign(t.Context(), store.NewCampaign{Campaign: c, Content: r.sealContent(c, s), Nonce: c.ID})
	if err != nil {
		t.Fatal(err)
	}
	runTask(t, r.Engine)
	r.awaitStatus(t, c.ID, campaign.StatusCompleted)
	r.mailed(t, 1, nil)
	for _, m := range r.relay.Messages() {
		if !strings.Contains(string(m.Data), "<p>r0@example.org") {
			t.Errorf("the relay got %q", m.Data)
		}
	}
}
