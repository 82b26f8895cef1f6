package bolt

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"postern/internal/campaign"
)

// contactsSlice is how many contacts are written in one transaction, so that
// an import of any size holds other writers up for some milliseconds at a time
// only.
const contactsSlice = 1000

func errNoContact() error { return campaign.Errorf(campaign.CodeNotFound, "Contact not found") }

// UpsertContacts implements store.Contacts.
func (s *Store) UpsertContacts(ctx context.Context, changes []campaign.ContactChange, at time.Time) error {
	for part := range slices.Chunk(changes, contactsSlice) {
		err := s.update(ctx, func(t *tx) error {
			for _, change := range part {
				if _, err := t.change(change, at, true); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// UpdateContact implements store.Contacts.
func (s *Store) UpdateContact(ctx context.Context, change campaign.ContactChange, at time.Time) (campaign.Contact, error) {
	var out campaign.Contact
	err := s.update(ctx, func(t *tx) (err error) {
		out, err = t.change(change, at, false)
		return err
	})
	return out, err
}

// DeleteContact implements store.Contacts.
func (s *Store) DeleteContact(ctx context.Context, key string) error {
	return s.update(ctx, func(t *tx) error {
		if t.get(contactsBucket, []byte(key)) == nil {
			return errNoContact()
		}
		return t.delete(contactsBucket, []byte(key))
	})
}

// GetContacts implements store.Contacts.
func (s *Store) GetContacts(ctx context.Context, keys []string) ([]campaign.Contact, error) {
	out := make([]campaign.Contact, 0, len(keys))
	err := s.view(ctx, func(t *tx) error {
		for _, key := range keys {
			c, found, err := t.contact([]byte(key))
			if err != nil {
				return err
			}
			if found {
				out = append(out, c)
			}
		}
		return nil
	})
	return out, err
}

// ListContacts implements store.Contacts, in the order of the keys.
func (s *Store) ListContacts(ctx context.Context, cursor string, limit int) ([]campaign.Contact, string, error) {
	after, err := decodeCursor(contactListing, cursor)
	if err != nil {
		return nil, "", err
	}
	var out []campaign.Contact
	next := ""
	err = s.view(ctx, func(t *tx) error {
		last, err := t.contactsAfter(after, limit, func(key, value []byte) error {
			contact, err := decodeContact(key, value)
			out = append(out, contact)
			return err
		})
		if last != nil {
			next = encodeCursor(contactListing, last)
		}
		return err
	})
	return out, next, err
}

// StatusesAfter implements store.Contacts.
func (s *Store) StatusesAfter(ctx context.Context, key string, limit int) (map[string]campaign.ContactStatus, error) {
	statuses := make(map[string]campaign.ContactStatus, limit)
	err := s.view(ctx, func(t *tx) error {
		_, err := t.contactsAfter([]byte(key), limit, func(key, value []byte) error {
			status, err := decodeStatus(key, value)
			statuses[string(key)] = status
			return err
		})
		return err
	})
	return statuses, err
}

// contactsAfter calls with up to limit contacts behind a key, and gives the
// last one's key where there are more.
func (t *tx) contactsAfter(after []byte, limit int, with func(key, value []byte) error) (last []byte, err error) {
	c := t.cursor(contactsBucket)
	key, value := c.Seek(after)
	if bytes.Equal(key, after) {
		key, value = c.Next()
	}
	for ; key != nil; key, value = c.Next() {
		if limit == 0 {
			return last, nil
		}
		if err := with(key, value); err != nil {
			return nil, err
		}
		limit, last = limit-1, key
	}
	return nil, nil
}

// contact gives a stored contact, and whether it is there.
func (t *tx) contact(key []byte) (campaign.Contact, bool, error) {
	value := t.get(contactsBucket, key)
	if value == nil {
		return campaign.Contact{}, false, nil
	}
	c, err := decodeContact(key, value)
	return c, err == nil, err
}

// change applies a change, to a new contact where mayMake allows that.
func (t *tx) change(change campaign.ContactChange, at time.Time, mayMake bool) (campaign.Contact, error) {
	key := []byte(change.Key())
	c, found, err := t.contact(key)
	if err != nil {
		return campaign.Contact{}, err
	}
	if !found {
		if !mayMake {
			return campaign.Contact{}, errNoContact()
		}
		c = campaign.Contact{Status: campaign.ContactActive, CreatedAt: milliseconds(at)}
	}
	apply(&c, change)
	c.UpdatedAt = milliseconds(at)
	return c, t.put(contactsBucket, key, encodeContact(c))
}

// apply sets what a change names and leaves the rest.
func apply(c *campaign.Contact, change campaign.ContactChange) {
	c.Address = change.Address
	if c.Fields == nil {
		c.Fields = make(map[string]string, len(change.Set))
	}
	maps.Copy(c.Fields, change.Set)
	for _, name := range change.Remove {
		delete(c.Fields, name)
	}
	if change.Tags != nil {
		c.Tags = slices.Clone(*change.Tags)
	}
	if change.Status != "" {
		c.Status = change.Status
	}
}

// statistics are the part of a contact that campaigns write.
type statistics struct {
	count    int64
	last     time.Time
	campaign string
}

func (e *encoder) statistics(s statistics) {
	e.int(s.count)
	e.time(s.last)
	e.string(s.campaign)
}

func (d *decoder) statistics() statistics {
	return statistics{count: d.int(), last: d.time(), campaign: d.string()}
}

// countSent gives a contact's value with one message of a campaign more, and
// false when that campaign is counted already.
func countSent(key, value []byte, id string, at time.Time) (counted []byte, changed bool, err error) {
	d := newDecoder(value)
	s := d.statistics()
	if d.bad {
		return nil, false, damaged(contactsBucket, key, errValue)
	}
	if s.campaign == id {
		return nil, false, nil
	}
	e := newEncoder(len(value) + len(id) + 16)
	e.statistics(statistics{count: s.count + 1, last: at, campaign: id})
	return append(e, d.rest...), true, nil
}

func encodeContact(c campaign.Contact) []byte {
	e := newEncoder(256)
	e.statistics(statistics{count: c.EmailCount, last: c.LastEmailSent, campaign: c.LastCampaign})
	e.string(c.Address)
	e.string(string(c.Status))
	e.time(c.CreatedAt)
	e.time(c.UpdatedAt)
	e.count(len(c.Tags))
	for _, tag := range c.Tags {
		e.string(tag)
	}
	e.count(len(c.Fields))
	for name, value := range c.Fields {
		e.string(name)
		e.string(value)
	}
	return e
}

// decodeStatus reads a contact's status alone, which stands near the front.
func decodeStatus(key, value []byte) (campaign.ContactStatus, error) {
	d := newDecoder(value)
	d.statistics()
	_ = d.bytes() // the address
	status := campaign.ContactStatus(d.string())
	if d.bad {
		return "", damaged(contactsBucket, key, errValue)
	}
	return status, nil
}

func decodeContact(key, value []byte) (campaign.Contact, error) {
	d := newDecoder(value)
	s := d.statistics()
	c := campaign.Contact{
		EmailCount: s.count, LastEmailSent: s.last, LastCampaign: s.campaign,
		Address:   d.string(),
		Status:    campaign.ContactStatus(d.string()),
		CreatedAt: d.time(), UpdatedAt: d.time(),
	}
	c.Tags = make([]string, d.count())
	for i := range c.Tags {
		c.Tags[i] = d.string()
	}
	n := d.count()
	c.Fields = make(map[string]string, n)
	for range n {
		name := d.string()
		c.Fields[name] = d.string()
	}
	if err := d.done(); err != nil {
		return campaign.Contact{}, damaged(contactsBucket, key, err)
	}
	return c, nil
}
