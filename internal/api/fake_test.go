package api_test

import (
	"cmp"
	"context"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"postern/internal/api"
	"postern/internal/campaign"
	"postern/internal/engine"
)

var (
	_ api.Service = (*fake)(nil)

	someTime = time.Date(2025, 6, 24, 9, 30, 0, 123e6, time.FixedZone("CEST", 7200))
)

// fake is a Service in memory.
type fake struct {
	mu          sync.Mutex
	submissions []engine.Submission
	reports     map[string]engine.Report
	keys        map[string]engine.Submission
	keyIDs      map[string]string
	contacts    map[string]campaign.Contact
	upserts     int
	deliveries  []campaign.Delivery
	// resumed and retried are what Resume and Retry were called with.
	resumed []engine.ResumeOptions
	retried []engine.RetryOptions
	// trail is what Audit writes, and trailErr what it then returns.
	trail    string
	trailErr error
	// damaged is what Campaigns says of each page.
	damaged []string
	// err is what every method returns where it is set.
	err error
	// hook runs at the start of Submit, Ready and Person.
	hook func(ctx context.Context)
}

func newFake() *fake {
	return &fake{
		reports: map[string]engine.Report{}, keys: map[string]engine.Submission{},
		keyIDs: map[string]string{}, contacts: map[string]campaign.Contact{},
	}
}

func (f *fake) enter(ctx context.Context, hooked bool) error {
	f.mu.Lock()
	hook, err := f.hook, f.err
	f.mu.Unlock()
	if hooked && hook != nil {
		hook(ctx)
	}
	return err
}

func (f *fake) Submit(ctx context.Context, s engine.Submission) (engine.Report, bool, error) {
	if err := f.enter(ctx, true); err != nil {
		return engine.Report{}, false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if earlier, known := f.keys[s.IdempotencyKey]; known && s.IdempotencyKey != "" {
		if earlier.RequestDigest != s.RequestDigest {
			return engine.Report{}, false, campaign.Errorf(campaign.CodeKeyReused, "the Idempotency-Key came before with another request")
		}
		return f.reports[f.keyIDs[s.IdempotencyKey]], false, nil
	}
	r := engine.Report{Campaign: campaign.Campaign{
		ID: uuid.Must(uuid.NewV7()).String(), Name: s.Name, Status: campaign.StatusPending,
		Relay: campaign.Relay{Host: s.Relay.Host}, SourceVPCE: s.SourceVPCE, CreatedAt: someTime, UpdatedAt: someTime,
		Promise: cmp.Or(s.Promise, campaign.AtLeastOnce), SendAt: s.SendAt,
	}}
	if !s.SendAt.IsZero() {
		r.Campaign.Status = campaign.StatusScheduled
	}
	f.submissions = append(f.submissions, s)
	f.reports[r.Campaign.ID] = r
	f.keys[s.IdempotencyKey], f.keyIDs[s.IdempotencyKey] = s, r.Campaign.ID
	return r, true, nil
}

func (f *fake) Report(ctx context.Context, id string) (engine.Report, error) {
	if err := f.enter(ctx, false); err != nil {
		return engine.Report{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r, found := f.reports[id]
	if !found {
		return engine.Report{}, campaign.Errorf(campaign.CodeNotFound, "no row for %s", id)
	}
	return r, nil
}

// become moves a campaign to a status, as far as that is legal.
func (f *fake) become(ctx context.Context, id string, to campaign.Status) (engine.Report, error) {
	r, err := f.Report(ctx, id)
	if err != nil {
		return engine.Report{}, err
	}
	if !r.Campaign.Status.CanBecome(to) {
		return engine.Report{}, campaign.Errorf(campaign.CodeConflict, "the campaign is %s and cannot become %s", r.Campaign.Status, to)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r.Campaign.Status = to
	f.reports[id] = r
	return r, nil
}

func (f *fake) Pause(ctx context.Context, id string) (engine.Report, error) {
	return f.become(ctx, id, campaign.StatusPaused)
}

func (f *fake) Cancel(ctx context.Context, id string) (engine.Report, error) {
	return f.become(ctx, id, campaign.StatusCancelled)
}

func (f *fake) Resume(ctx context.Context, id string, o engine.ResumeOptions) (engine.Report, error) {
	f.mu.Lock()
	f.resumed = append(f.resumed, o)
	f.mu.Unlock()
	return f.become(ctx, id, campaign.StatusInProgress)
}

func (f *fake) Retry(ctx context.Context, id string, o engine.RetryOptions) (engine.Report, error) {
	f.mu.Lock()
	f.retried = append(f.retried, o)
	f.mu.Unlock()
	return f.become(ctx, id, campaign.StatusInProgress)
}

// slice gives the part of a sorted listing that is behind cursor, an offset.
func slice[T any](all []T, cursor string, limit int) ([]T, string, error) {
	offset, err := strconv.Atoi("0" + cursor)
	if err != nil || offset > len(all) {
		return nil, "", campaign.Invalid("cursor", "is not one of this listing's")
	}
	end := min(offset+limit, len(all))
	next := ""
	if end < len(all) {
		next = strconv.Itoa(end)
	}
	return all[offset:end], next, nil
}

func (f *fake) Campaigns(ctx context.Context, cursor string, limit int) (engine.CampaignPage, error) {
	if err := f.enter(ctx, false); err != nil {
		return engine.CampaignPage{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []engine.Report
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(f.reports))) {
		all = append(all, f.reports[id])
	}
	reports, next, err := slice(all, cursor, limit)
	return engine.CampaignPage{Reports: reports, Damaged: f.damaged, Next: next}, err
}

func (f *fake) Audit(ctx context.Context, id string, w io.Writer) error {
	if err := f.enter(ctx, false); err != nil {
		return err
	}
	if _, err := f.Report(ctx, id); err != nil {
		return err
	}
	if _, err := io.WriteString(w, f.trail); err != nil {
		return err
	}
	return f.trailErr
}

func (f *fake) AuditKeys() ([]engine.AuditKey, error) {
	return []engine.AuditKey{{ID: campaign.KeyID{1, 2, 3, 4}, Public: make([]byte, 32)}}, f.err
}

func (f *fake) Deliveries(ctx context.Context, id string, q engine.DeliveryQuery) ([]campaign.Delivery, string, error) {
	if _, err := f.Report(ctx, id); err != nil {
		return nil, "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []campaign.Delivery
	for _, d := range f.deliveries {
		if q.State == "" || d.State == q.State {
			all = append(all, d)
		}
	}
	return slice(all, q.Cursor, q.Limit)
}

func (f *fake) UpsertContacts(ctx context.Context, changes []campaign.ContactChange) error {
	if err := f.enter(ctx, false); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.upserts++
	for _, change := range changes {
		f.apply(change)
	}
	return nil
}

func (f *fake) apply(change campaign.ContactChange) campaign.Contact {
	c, found := f.contacts[change.Key()]
	if !found {
		c = campaign.Contact{Status: campaign.ContactActive, Fields: map[string]string{}, CreatedAt: someTime}
	}
	c.Address, c.UpdatedAt = change.Address, someTime
	maps.Copy(c.Fields, change.Set)
	for _, name := range change.Remove {
		delete(c.Fields, name)
	}
	if change.Tags != nil {
		c.Tags = *change.Tags
	}
	if change.Status != "" {
		c.Status = change.Status
	}
	f.contacts[change.Key()] = c
	return c
}

func (f *fake) UpdateContact(ctx context.Context, change campaign.ContactChange) (campaign.Contact, error) {
	if _, err := f.Contact(ctx, change.Address); err != nil {
		return campaign.Contact{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.apply(change), nil
}

func (f *fake) DeleteContact(ctx context.Context, address string) error {
	if _, err := f.Contact(ctx, address); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.contacts, campaign.Key(address))
	return nil
}

func (f *fake) Contacts(ctx context.Context, cursor string, limit int) ([]campaign.Contact, string, error) {
	if err := f.enter(ctx, false); err != nil {
		return nil, "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []campaign.Contact
	for _, key := range slices.Sorted(maps.Keys(f.contacts)) {
		all = append(all, f.contacts[key])
	}
	return slice(all, cursor, limit)
}

func (f *fake) Contact(ctx context.Context, address string) (campaign.Contact, error) {
	if err := f.enter(ctx, false); err != nil {
		return campaign.Contact{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c, found := f.contacts[campaign.Key(address)]
	if !found {
		return campaign.Contact{}, campaign.Errorf(campaign.CodeNotFound, "no row")
	}
	return c, nil
}

func (f *fake) Person(ctx context.Context, address, cursor string) (engine.PersonPage, error) {
	if err := f.enter(ctx, true); err != nil {
		return engine.PersonPage{}, err
	}
	if cursor != "" {
		return engine.PersonPage{}, nil
	}
	p := engine.PersonPage{Next: "more", NamedIn: []string{"s"}, Damaged: []string{"d"}, Deliveries: []engine.PersonDelivery{{
		CampaignID: "c", CampaignName: "n", Values: map[string]string{"first_name": "A"},
		Delivery: campaign.Delivery{Address: address, State: campaign.DeliverySent},
	}}}
	if c, err := f.Contact(ctx, address); err == nil {
		p.Contact = &c
	}
	return p, nil
}

func (f *fake) ErasePerson(ctx context.Context, address, cursor string) (engine.ErasurePage, error) {
	if err := f.enter(ctx, false); err != nil {
		return engine.ErasurePage{}, err
	}
	deleted := f.DeleteContact(ctx, address) == nil
	if cursor == "" {
		return engine.ErasurePage{Contact: deleted, Recipients: 1, Remaining: []string{"c", "d"}, Damaged: []string{"d"}, Left: true, Next: "more"}, nil
	}
	return engine.ErasurePage{Left: true}, nil
}

func (f *fake) Ready(ctx context.Context) error { return f.enter(ctx, true) }

// submitted gives the only submission.
func (f *fake) submitted() engine.Submission {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.submissions) != 1 {
		return engine.Submission{Name: strconv.Itoa(len(f.submissions)) + " submissions instead of 1"}
	}
	return f.submissions[0]
}

func (f *fake) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}
