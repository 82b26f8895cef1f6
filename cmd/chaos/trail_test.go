package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/audit"
	"postern/internal/campaign"
	"postern/internal/client"
)

var (
	trailBegan    = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	trailSigner   = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	trailStranger = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
)

const trailID = "0198c1de-0000-7000-8000-000000000001"

// maker makes the trail of a completed campaign of one chunk, as a service
// would export it.
type maker struct {
	status campaign.Status
	links  [2][]campaign.Link // of the campaign's own chain, and the chunk's
	chains [2]campaign.Chain
	rows   []campaign.Delivery
	erase  bool // the addresses
}

// madeTrail tells that a and b are sent, and that c is unknown.
func madeTrail() *maker {
	m := &maker{status: campaign.StatusCompleted}
	m.event(campaign.Event{Action: campaign.ActionCreated, To: campaign.StatusPending})
	m.event(campaign.Event{Action: campaign.ActionStatus, From: campaign.StatusPending, To: campaign.StatusInProgress})
	states := []campaign.DeliveryState{campaign.DeliverySent, campaign.DeliverySent, campaign.DeliveryUnknown}
	for i, state := range states {
		d := campaign.Delivery{
			Index: i, Address: string(rune('a' + i)), State: state, Attempts: 1, UpdatedAt: trailBegan,
			Person: campaign.Person{Key: campaign.KeyID{9}, Digest: campaign.PersonDigest{byte(i), 1}},
		}
		if state == campaign.DeliverySent {
			d.Digest = bytes.Repeat([]byte{byte(i)}, 32)
		}
		m.rows = append(m.rows, d)
		m.append(1, campaign.EncodeResults([]campaign.Delivery{d}))
	}
	m.event(campaign.Event{Action: campaign.ActionStatus, From: campaign.StatusInProgress, To: campaign.StatusCompleted})
	return m
}

func (m *maker) append(number int, payload []byte) {
	m.chains[number] = m.chains[number].Next(trailID, number, payload)
	m.links[number] = append(m.links[number], campaign.Link{Number: m.chains[number].Links, Hash: m.chains[number].Head, Payload: payload})
}

func (m *maker) event(e campaign.Event) {
	e.At, e.Actor = trailBegan, campaign.Service
	payload, err := e.Encode()
	if err != nil {
		panic(err)
	}
	m.append(0, payload)
}

func (m *maker) root(key ed25519.PrivateKey) *maker {
	var tree audit.Tree
	tree.Add(1, m.chains[1])
	r := campaign.Root{Links: []int64{m.chains[1].Links}, Merkle: tree.Root(), Total: 3, Sent: 2, Unknown: 1}
	audit.Sign(key, audit.Place{CampaignID: trailID, At: trailBegan, Before: m.chains[0]}, &r)
	m.event(campaign.Event{Action: campaign.ActionRoot, Root: &r})
	return m
}

func (m *maker) export() []byte {
	var out bytes.Buffer
	w := audit.NewWriter(&out)
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	must(w.Write(audit.Line{Campaign: &audit.CampaignLine{
		CampaignID: trailID, Status: m.status, Links: m.chains[0].Links, Head: m.chains[0].Head, Chunks: 1,
	}}))
	for _, l := range m.links[0] {
		must(w.Link(0, l))
	}
	must(w.Write(audit.Line{Chunk: &audit.ChunkLine{Chunk: 1, Size: 3, Settled: 3, Links: m.chains[1].Links, Head: m.chains[1].Head}}))
	for _, l := range m.links[1] {
		must(w.Link(1, l))
	}
	for _, d := range m.rows {
		line := audit.RowLine{
			Chunk: 1, Index: d.Index, Email: d.Address, State: d.State, Attempts: d.Attempts,
			Digest: hex.EncodeToString(d.Digest), UpdatedAt: d.UpdatedAt,
		}
		if !m.erase {
			line.PersonKey, line.Person = &d.Person.Key, &d.Person.Digest
		}
		must(w.Write(audit.Line{Row: &line}))
	}
	must(w.End())
	return out.Bytes()
}

// TestTrailFaultsAreFound: each way in which a trail is none, or says otherwise
// than the ledger and the accounts, is found, with the place where it is.
func TestTrailFaultsAreFound(t *testing.T) {
	t.Parallel()
	digest := func(i byte) string { return hex.EncodeToString(bytes.Repeat([]byte{i}, 32)) }
	ledger := []record{{To: "a", Digest: digest(7)}, {To: "a", Digest: digest(0)}, {To: "b", Digest: digest(1)}, {To: "c", Digest: digest(2)}}
	accounts := []client.Delivery{{Email: "a", State: "sent"}, {Email: "b", State: "sent"}, {Email: "c", State: "unknown"}}
	sent := func(address string) []client.Delivery {
		return append([]client.Delivery{{Email: address, State: "sent"}}, accounts...)
	}
	signed := func(change func(*maker)) *maker {
		m := madeTrail()
		change(m)
		return m.root(trailSigner)
	}
	broken := func(change func(*maker)) *maker {
		m := madeTrail().root(trailSigner)
		change(m)
		return m
	}
	as := func(*maker) {}
	for name, tt := range map[string]struct {
		trail    *maker
		records  []record
		accounts []client.Delivery
		want     string // "" for nothing
	}{
		"all is well":            {signed(as), ledger, accounts, ""},
		"an octet of a link":     {broken(func(m *maker) { m.links[1][1].Payload[9] ^= 1 }), ledger, accounts, "it is broken: chunk 1, link 2: the link was changed"},
		"a row that says more":   {broken(func(m *maker) { m.rows[2].State = campaign.DeliverySent }), ledger, accounts, "it is broken: chunk 1, link 3: the row of recipient 2 has another state"},
		"no root":                {madeTrail(), ledger, accounts, "it is not signed: of 0 roots none covers 3 links of chunks and 3 events"},
		"a stranger's root":      {madeTrail().root(trailStranger), ledger, accounts, "it is broken: the campaign's own chain, link 4: the root's signature"},
		"an event behind":        {broken(func(m *maker) { m.event(campaign.Event{Action: campaign.ActionRestarted}) }), ledger, accounts, "it is not signed"},
		"another status":         {signed(func(m *maker) { m.status = campaign.StatusFailed }), ledger, accounts, "it is broken: the campaign's own chain"},
		"nobody's addresses":     {signed(func(m *maker) { m.erase = true }), ledger, accounts, "3 rows have an address that is not held"},
		"somebody left out":      {signed(func(m *maker) { m.rows[1].Address = "a" }), ledger, accounts, "it tells the results of 2 recipients, and there are 3"},
		"sent, and not mailed":   {signed(as), ledger[:2], accounts, "by chunk 1, link 2, b is sent, and the relay has nothing"},
		"another message":        {signed(as), append([]record{{To: "b", Digest: digest(7)}}, ledger[:2]...), accounts, "by chunk 1, link 2, the message to b has the digest 0101"},
		"sent by accounts alone": {signed(as), ledger, sent("c"), `c is sent by the accounts and in the relay's ledger, and "unknown" by the trail (chunk 1, link 3)`},
		"in no trail":            {signed(as), append([]record{{To: "d"}}, ledger...), sent("d"), `d is sent by the accounts and in the relay's ledger, and "" by the trail`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read, err := readTrail(tt.trail.export(), []ed25519.PublicKey{trailSigner.Public().(ed25519.PublicKey)})
			if err != nil {
				t.Fatal(err)
			}
			c := newCourse(nil, atMostOnce, 3)
			c.id, c.last.Status = trailID, "completed"
			c.holdTrail(read, tt.records, tt.accounts)
			got := strings.Join(c.violations, "; ")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("found %q; want %q", got, tt.want)
			}
			if tt.want != "" && !strings.HasPrefix(got, "invariant 11: the audit trail of campaign "+trailID) {
				t.Errorf("%q does not say which campaign", got)
			}
		})
	}
}

// TestTrailIsAwaited: the signature may come later, and not for ever; what is
// broken is not waited for.
func TestTrailIsAwaited(t *testing.T) {
	t.Parallel()
	damaged := madeTrail()
	damaged.links[1][0].Payload[9] ^= 1
	for name, tt := range map[string]struct {
		first     []byte        // until
		until     time.Duration // signed ones come
		least     time.Duration // of waiting
		most      time.Duration
		mostCalls int
		proven    bool
	}{
		"at once":  {nil, 0, 0, 0, 1, true},
		"later":    {madeTrail().export(), 5 * time.Second, 5 * time.Second, 9 * time.Second, 10, true},
		"no trail": {nil, time.Hour, trailWithin, trailWithin + 5*time.Second, 40, false},
		"never":    {madeTrail().export(), time.Hour, trailWithin, trailWithin + 5*time.Second, 40, false},
		"broken":   {damaged.export(), time.Hour, 0, 0, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began, calls := time.Now(), 0
				read, err := awaitTrail(t.Context(), []ed25519.PublicKey{trailSigner.Public().(ed25519.PublicKey)}, func(context.Context) ([]byte, error) {
					calls++
					switch {
					case time.Since(began) >= tt.until:
						return madeTrail().root(trailSigner).export(), nil
					case tt.first == nil:
						return nil, errors.New("nobody is there")
					}
					return tt.first, nil
				})
				if took := time.Since(began); took < tt.least || took > tt.most || calls > tt.mostCalls {
					t.Errorf("%d calls in %s", calls, took)
				}
				if read.report.Proven() != tt.proven || (err != nil) != (name == "no trail") {
					t.Errorf("%+v, %v", read.report, err)
				}
			})
		})
	}
}
