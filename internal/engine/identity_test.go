package engine

import (
	"strings"
	"testing"

	"postern/internal/campaign"
)

// TestOneMailboxIsOnePerson: whoever has unsubscribed is not mailed by another
// spelling of the address, nobody's fields go to another mailbox, and who is
// erased is erased in every spelling.
func TestOneMailboxIsOnePerson(t *testing.T) {
	t.Parallel()
	const gone, goneToo, bob = "gone@bücher.example", "gone@xn--bcher-kva.example", "bob@city.example"
	r := newRig(t, rigOptions{})
	for _, change := range []campaign.ContactChange{
		{Address: gone, Status: campaign.ContactUnsubscribed},
		{Address: goneToo},
		{Address: bob, Set: map[string]string{"ssn": "078-05-1120"}},
		{Address: "bob@c\u0130ty.example"},
		{Address: "eve@bücher.example"},
		{Address: "eve@ＢÜcher.example"},
	} {
		if err := r.UpsertContacts(t.Context(), []campaign.ContactChange{change}); err != nil {
			t.Fatal(err)
		}
	}
	runTask(t, r.Engine)
	s := letter()
	s.HTML = "<p>{{ssn}}</p>"
	id := r.submit(t, s)
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.awaitIdle(t)
	r.mailed(t, 0, map[string]int{bob: 1, "bob@xn--city-rwc.example": 1, "eve@xn--bcher-kva.example": 1})
	for _, m := range r.relay.Messages() {
		if theirs := strings.Contains(string(m.Data), "078-05-1120"); theirs != (m.To[0] == bob) {
			t.Errorf("%s got\n%s", m.To, m.Data)
		}
	}
	if p := r.erase(t, "Eve@xn--Bcher-KVA.example", ""); !p.Contact || p.Recipients != 1 || p.Left {
		t.Errorf("the erasing said %+v", p)
	}
	if found, err := r.Person(t.Context(), "eve@bücher.example", ""); err != nil || found.Contact != nil || len(found.Deliveries) > 0 {
		t.Errorf("%+v, %v are left", found, err)
	}
	if p := r.erase(t, goneToo, ""); !p.Contact {
		t.Errorf("the erasing said %+v", p)
	}
	s.Audience.Addresses = []string{bob, "eve@bücher.example", "BOB@ｃｉｔｙ.example"}
	_, _, err := r.Submit(t.Context(), s)
	code(t, "nobody", err, campaign.CodeInvalid, "recipients[1]")
	code(t, "named twice", err, campaign.CodeInvalid, "recipients[2]")
}
