package storetest

import (
	"maps"

	"pgregory.net/rapid"

	"postern/internal/campaign"
	"postern/internal/store"
)

// peopleDrawn is the highest number of an address in the model: few, so that
// the calls meet.
const peopleDrawn = 4

// drawChange draws a change of one of the addresses.
func (m *machine) drawChange(rt *rapid.T, address int) campaign.ContactChange {
	names := rapid.SampledFrom([]string{"a", "name", "#x", "a.b"})
	change := campaign.ContactChange{
		Address: m.k.address(address),
		Set:     rapid.MapOfN(names, rapid.SampledFrom([]string{"", "1", "zwei", "三"}), 0, 3).Draw(rt, "set"),
		Status:  rapid.SampledFrom(append([]campaign.ContactStatus{"", ""}, campaign.ContactStatuses...)).Draw(rt, "status"),
	}
	for _, name := range rapid.SliceOfNDistinct(names, 0, 2, rapid.ID).Draw(rt, "remove") {
		if _, set := change.Set[name]; !set {
			change.Remove = append(change.Remove, name)
		}
	}
	if rapid.Bool().Draw(rt, "with tags") {
		tags := rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y z", "ü"}), 0, 2).Draw(rt, "tags")
		change.Tags = &tags
	}
	return change
}

func (m *machine) upsert(rt *rapid.T) {
	m.k.tb = rt
	at := m.k.later(m.tick())
	var changes []campaign.ContactChange
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, peopleDrawn), 1, 3, rapid.ID).Draw(rt, "whom") {
		changes = append(changes, m.drawChange(rt, n))
	}
	m.k.ok(m.k.s.UpsertContacts(rt.Context(), changes, at), "UpsertContacts")
	for _, change := range changes {
		c, found := m.people[change.Key()]
		if !found {
			c = campaign.Contact{Status: campaign.ContactActive, CreatedAt: at}
		}
		c.UpdatedAt = at
		m.people[change.Key()] = changed(c, change)
	}
}

func (m *machine) update(rt *rapid.T) {
	m.k.tb = rt
	at := m.k.later(m.tick())
	change := m.drawChange(rt, rapid.IntRange(0, peopleDrawn).Draw(rt, "whom"))
	got, err := m.k.s.UpdateContact(rt.Context(), change, at)
	c, found := m.people[change.Key()]
	if !found {
		m.k.fails(err, campaign.CodeNotFound, "UpdateContact")
		return
	}
	m.k.ok(err, "UpdateContact")
	c.UpdatedAt = at
	c = changed(c, change)
	m.people[change.Key()] = c
	m.k.same(got, c, "the updated contact")
}

func (m *machine) remove(rt *rapid.T) {
	m.k.tb = rt
	key := campaign.Key(m.k.address(rapid.IntRange(0, peopleDrawn).Draw(rt, "whom")))
	err := m.k.s.DeleteContact(rt.Context(), key)
	if _, found := m.people[key]; !found {
		m.k.fails(err, campaign.CodeNotFound, "DeleteContact")
		return
	}
	m.k.ok(err, "DeleteContact")
	delete(m.people, key)
}

// changed is what the contract makes of a change.
func changed(c campaign.Contact, change campaign.ContactChange) campaign.Contact {
	fields := map[string]string{}
	maps.Copy(fields, c.Fields)
	maps.Copy(fields, change.Set)
	for _, name := range change.Remove {
		delete(fields, name)
	}
	c.Address, c.Fields = change.Address, fields
	if change.Tags != nil {
		c.Tags = *change.Tags
	}
	if change.Status != "" {
		c.Status = change.Status
	}
	return c
}

// countSent counts messages of the campaign, or of another one.
func (m *machine) countSent(rt *rapid.T) {
	id := rapid.SampledFrom([]string{m.id, m.id, "another campaign"}).Draw(rt, "campaign")
	var sent []store.Sent
	at := m.tick() // of two messages to one contact, either's time may stay
	for _, address := range rapid.SliceOfN(rapid.IntRange(0, peopleDrawn), 0, 4).Draw(rt, "sent") {
		sent = append(sent, store.Sent{Key: campaign.Key(m.k.address(address)), At: m.k.later(at + address)})
	}
	m.countSentAs(rt, id, sent)
}

func (m *machine) countSentAs(rt *rapid.T, id string, sent []store.Sent) {
	m.k.tb = rt
	m.again = func(rt *rapid.T) { m.countSentAs(rt, id, sent) }
	m.k.count(id, sent)
	for _, message := range sent {
		c, found := m.people[message.Key]
		if !found || c.LastCampaign == id {
			continue
		}
		c.EmailCount++
		c.LastEmailSent, c.LastCampaign = message.At, id
		m.people[message.Key] = c
	}
}

// lookAtPeople compares the contacts. Whether statistics change UpdatedAt is
// left open.
func (m *machine) lookAtPeople() {
	m.k.Helper()
	got, err := m.k.s.GetContacts(m.k.Context(), keysOf(m.k.addresses(peopleDrawn+1)))
	m.k.ok(err, "GetContacts")
	var want []campaign.Contact
	for _, key := range sortedKeys(m.people) {
		want = append(want, m.people[key])
	}
	got = byKey(got)
	for i := range got {
		if i < len(want) && got[i].LastCampaign != "" {
			got[i].UpdatedAt = want[i].UpdatedAt
		}
	}
	m.k.same(got, want, "contacts")
}
