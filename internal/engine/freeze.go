package engine

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"postern/internal/campaign"
	"postern/internal/store"
)

// chunkRecipients is how many recipients a chunk has at most: enough to make
// leases cheap, few enough to spread a campaign over tasks, and a whole number
// of checkpoints.
const chunkRecipients = 5 * store.MaxCheckpoint

// freezer stores a campaign's audience, chunk by chunk. Contacts that come,
// go or change while it runs may or may not be in.
type freezer struct {
	e         *Engine
	hold      *holder
	fields    []string
	selection campaign.Selection

	admission
}

// The control lease's cursor is "" at the start, a listing's cursor behind
// listingPrefix, or frozenAll: the listing's own cursor is "" at its end as
// well, and a crash behind the last chunk must not start over.
const (
	listingPrefix = "after "
	frozenAll     = "end"
)

func (f *freezer) run(ctx context.Context) error {
	for f.hold.current().Freeze.Cursor != frozenAll {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		audience, cursor, err := f.gather(ctx)
		if err != nil {
			return err
		}
		if len(audience.Recipients) == 0 {
			break
		}
		if err := f.extend(ctx, len(audience.Recipients)); err != nil {
			return err
		}
		if err := f.store(audience, cursor); err != nil {
			return err
		}
		f.frozen += len(audience.Recipients)
		control := f.hold.current()
		f.e.wake(store.LeaseKey{CampaignID: control.Key.CampaignID, Number: control.Freeze.Chunks})
	}
	return f.hold.write(f.e.working, f.e.store.FinishFreeze)
}

func (f *freezer) store(audience campaign.Audience, cursor string) error {
	chunk := store.Chunk{Size: len(audience.Recipients), Packed: audience.Pack(), DueAt: dueNow}
	return f.hold.write(f.e.working, func(ctx context.Context, held store.Lease) (store.Lease, error) {
		return f.e.store.AddChunk(ctx, held, chunk, cursor)
	})
}

// gather collects the next chunk of the audience and the cursor behind it. No
// recipients means that there are none left.
func (f *freezer) gather(ctx context.Context) (campaign.Audience, string, error) {
	a := campaign.Audience{Fields: f.fields}
	cursor := f.hold.current().Freeze.Cursor
	size, limit := 0, chunkRecipients
	for len(a.Recipients) < chunkRecipients && cursor != frozenAll {
		contacts, next, err := f.page(ctx, cursor, min(limit, chunkRecipients-len(a.Recipients)))
		if err != nil {
			return campaign.Audience{}, "", err
		}
		recipients, pageSize := f.choose(contacts)
		switch {
		case size+pageSize <= store.MaxChunkOctets-packedHeader(f.fields):
			a.Recipients = append(a.Recipients, recipients...)
			size, cursor = size+pageSize, next
		case len(a.Recipients) > 0:
			return a, cursor, nil
		case limit == 1:
			return a, "", campaign.Invalid("body", "uses fields (%s) that hold %d octets together in one of the contacts, and at most %d fit",
				strings.Join(f.fields, ", "), pageSize, store.MaxChunkOctets)
		default:
			// A page that is too large for a chunk is read again by halves: a
			// cursor stands between pages only.
			limit = max(limit/2, 1)
		}
	}
	return a, cursor, nil
}

// page lists contacts of the selection, narrowed by addresses but not yet by
// tags.
func (f *freezer) page(ctx context.Context, cursor string, limit int) ([]campaign.Contact, string, error) {
	if len(f.selection.Addresses) > 0 {
		return f.named(ctx, cursor, limit)
	}
	contacts, next, err := f.e.store.ListContacts(ctx, strings.TrimPrefix(cursor, listingPrefix), limit)
	if next == "" {
		return contacts, frozenAll, err
	}
	return contacts, listingPrefix + next, err
}

// named gives the contacts of the next limit addresses; the cursor counts
// addresses.
func (f *freezer) named(ctx context.Context, cursor string, limit int) ([]campaign.Contact, string, error) {
	start := 0
	if cursor != "" {
		var err error
		if start, err = strconv.Atoi(strings.TrimPrefix(cursor, listingPrefix)); err != nil || start < 0 {
			return nil, "", campaign.Errorf(campaign.CodeInternal, "damaged cursor %q in the control lease", cursor)
		}
	}
	rest := f.selection.Addresses[min(start, len(f.selection.Addresses)):]
	rest = rest[:min(limit, len(rest))]
	keys := make([]string, len(rest))
	for i, address := range rest {
		keys[i] = campaign.Key(address)
	}
	contacts, err := f.e.store.GetContacts(ctx, keys)
	if start+len(rest) >= len(f.selection.Addresses) {
		return contacts, frozenAll, err
	}
	return contacts, listingPrefix + strconv.Itoa(start+len(rest)), err
}

// choose makes recipients of the contacts that the selection's tags allow.
func (f *freezer) choose(contacts []campaign.Contact) (chosen []campaign.Recipient, size int) {
	for i := range contacts {
		if !f.wants(&contacts[i]) {
			continue
		}
		r := campaign.Recipient{Address: contacts[i].Address, Values: make([]string, len(f.fields))}
		for j, name := range f.fields {
			r.Values[j] = contacts[i].Field(name)
		}
		size += r.PackedSize()
		chosen = append(chosen, r)
	}
	return chosen, size
}

func (f *freezer) wants(c *campaign.Contact) bool {
	return len(f.selection.Tags) == 0 ||
		slices.ContainsFunc(f.selection.Tags, func(tag string) bool { return slices.Contains(c.Tags, tag) })
}

// packedHeader is room for the packed audience's head.
func packedHeader(fields []string) int { return 64 + (campaign.MaxFieldNameOctets+1)*len(fields) }
