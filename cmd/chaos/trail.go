package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"postern/internal/audit"
	"postern/internal/campaign"
	"postern/internal/client"
)

// trailWithin bounds the time from a campaign's end to its signed trail. It is
// seconds, and a lease more where a task has died; but a DynamoDB Local that all
// fleets load at once may take ten for one answer.
const trailWithin = 2 * time.Minute

// trail is what a campaign's audit trail tells, and what its own check says.
type trail struct {
	report audit.Report
	told   map[string]told // by address
}

// told is what the trail tells of a recipient.
type told struct {
	chunk  int
	link   int64 // of the chunk's chain
	state  campaign.DeliveryState
	digest string // of the message, in hexadecimal
}

// readTrail checks an export and reads it. Who got what is told by the links
// alone; the rows only say whose address an index is, which the check compares
// with the links.
func readTrail(export []byte, keys []ed25519.PublicKey) (trail, error) {
	t := trail{told: map[string]told{}}
	var err error
	if t.report, err = audit.Verify(bytes.NewReader(export), keys); err != nil {
		return t, err
	}
	type place struct{ chunk, index int }
	results := map[place]told{}
	for text := range bytes.Lines(export) {
		l, err := audit.ParseLine(text)
		switch {
		case err != nil:
			return t, err
		case l.Link != nil && l.Link.Chunk > 0:
			record, _ := campaign.DecodeRecord(l.Link.Payload) // the check has found a damaged one
			for _, r := range record.Results {
				results[place{l.Link.Chunk, r.Index}] = told{l.Link.Chunk, l.Link.Link, r.State, hex.EncodeToString(r.Digest)}
			}
		case l.Row != nil:
			if r, is := results[place{l.Row.Chunk, l.Row.Index}]; is {
				t.told[l.Row.Email] = r
			}
		}
	}
	return t, nil
}

// awaitTrail exports a trail, at ever longer intervals, until it is signed as a
// whole, or broken, or its time is over. It gives the last one.
func awaitTrail(ctx context.Context, keys []ed25519.PublicKey, export func(context.Context) ([]byte, error)) (trail, error) {
	const soon, late = 50 * time.Millisecond, 4 * time.Second
	deadline := time.Now().Add(trailWithin)
	for pause := soon; ; pause = min(2*pause, late) {
		var t trail
		lines, err := export(ctx)
		if err == nil {
			t, err = readTrail(lines, keys)
		}
		if err == nil && (t.report.Broken > 0 || t.report.Proven()) || time.Now().After(deadline) {
			return t, err
		}
		if err := sleep(ctx, pause); err != nil {
			return t, err
		}
	}
}

// checkTrail is invariant 11. It counts the trail if it passes.
func (c *course) checkTrail(ctx context.Context, records []record, rows []client.Delivery, o *outcome) {
	began := time.Now()
	t, err := awaitTrail(ctx, c.f.keys, func(ctx context.Context) ([]byte, error) {
		up, err := c.f.awaitLive(ctx)
		if err != nil {
			return nil, err
		}
		return up.export(ctx, c.id)
	})
	o.unsigned = time.Since(began)
	if err != nil {
		c.violated("invariant 11: the audit trail of campaign %s cannot be read: %v", c.id, err)
		return
	}
	if c.holdTrail(t, records, rows) {
		o.trails++
	}
}

// holdTrail holds a trail to the ledger and the accounts, and says whether it
// has passed. One that is wrong by itself is not held to anything else.
func (c *course) holdTrail(t trail, records []record, rows []client.Delivery) bool {
	faults := c.trailFaults(t)
	if len(faults) == 0 {
		faults = slices.Concat(t.againstLedger(records), t.againstAccounts(records, rows))
	}
	if len(faults) == 0 {
		return true
	}
	more := ""
	if n := max(len(faults), t.report.Broken); n > 1 {
		more = fmt.Sprintf("; and %d faults more", n-1)
	}
	c.violated("invariant 11: the audit trail of campaign %s: %s%s", c.id, faults[0], more)
	return false
}

// trailFaults gives what is wrong with a trail by itself.
func (c *course) trailFaults(t trail) (faults []string) {
	r := t.report
	for _, p := range r.Problems {
		faults = append(faults, "it is broken: "+p.String())
	}
	if r.CampaignID != c.id || string(r.Status) != c.last.Status {
		faults = append(faults, fmt.Sprintf("it is of campaign %s, which is %s by it and %s by the API", r.CampaignID, r.Status, c.last.Status))
	}
	if r.Broken == 0 && !r.Proven() {
		faults = append(faults, fmt.Sprintf("it is not signed: of %d roots none covers %d links of chunks and %d events, and %d chunks are at work (the last root is link %d of the campaign's own chain)",
			r.Roots, r.Unsigned, r.UnsignedEvents, r.AtWork, r.Root.Number))
	}
	if r.Unchecked > 0 {
		faults = append(faults, fmt.Sprintf("%d rows have an address that is not held to the record's, and nobody was erased", r.Unchecked))
	}
	if len(t.told) != c.people {
		faults = append(faults, fmt.Sprintf("it tells the results of %d recipients, and there are %d", len(t.told), c.people))
	}
	return faults
}

// againstLedger: whoever is sent by the trail has a message at the relay, and
// it is one with the digest that the trail has.
func (t trail) againstLedger(records []record) (faults []string) {
	taken := map[string][]string{}
	for _, r := range records {
		taken[r.To] = append(taken[r.To], r.Digest)
	}
	for address, r := range t.told {
		switch digests := taken[address]; {
		case r.state != campaign.DeliverySent:
		case len(digests) == 0:
			faults = append(faults, fmt.Sprintf("by chunk %d, link %d, %s is sent, and the relay has nothing", r.chunk, r.link, address))
		case !slices.Contains(digests, r.digest):
			faults = append(faults, fmt.Sprintf("by chunk %d, link %d, the message to %s has the digest %s; the relay's has %q", r.chunk, r.link, address, r.digest, digests))
		}
	}
	slices.Sort(faults)
	return faults
}

// againstAccounts: whoever has a message at the relay and is sent by the
// accounts is sent by the trail.
func (t trail) againstAccounts(records []record, rows []client.Delivery) (faults []string) {
	taken := map[string]bool{}
	for _, r := range records {
		taken[r.To] = true
	}
	for _, row := range rows {
		if row.State != string(campaign.DeliverySent) || !taken[row.Email] {
			continue
		}
		if r := t.told[row.Email]; r.state != campaign.DeliverySent {
			faults = append(faults, fmt.Sprintf("%s is sent by the accounts and in the relay's ledger, and %q by the trail (chunk %d, link %d)", row.Email, r.state, r.chunk, r.link))
		}
	}
	return faults
}

// auditKeys asks the task for the keys that sign. A fleet's are asked for once,
// before anything goes wrong.
func (t *task) auditKeys(ctx context.Context) (keys []ed25519.PublicKey, err error) {
	var answer struct {
		Keys []struct {
			Public string `json:"public_key"`
		} `json:"keys"`
	}
	if err := t.Call(ctx, http.MethodGet, "audit/key", nil, &answer); err != nil {
		return nil, err
	}
	for _, k := range answer.Keys {
		key, err := base64.StdEncoding.DecodeString(k.Public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// export gives a campaign's audit trail.
func (t *task) export(ctx context.Context, id string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.Base+"/campaigns/"+url.PathEscape(id)+"/audit", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := t.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = &client.Error{Status: resp.StatusCode, Body: body}
	}
	return body, err
}
