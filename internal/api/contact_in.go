package api

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"postern/internal/campaign"
)

// maxContactsBytes bounds the body of a call to /contacts. It is what API
// Gateway passes.
const maxContactsBytes = 10 << 20

// contactIn is a contact as callers send it: a flat object of which some
// members have a meaning and the others are fields. Faults have paths within
// the object.
type contactIn struct {
	isObject bool
	change   campaign.ContactChange
	faults   faults
}

// UnmarshalJSONFrom reads the object and collects what is wrong with it and its
// members, so that a caller learns it all at once.
func (c *contactIn) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if c.isObject = d.PeekKind() == '{'; !c.isObject {
		return d.SkipValue()
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	c.change.Set = map[string]string{}
	seen := map[string]bool{}
	for d.PeekKind() != '}' {
		if err := c.next(d, seen); err != nil {
			return err
		}
	}
	if c.change.Address == "" && !c.faults.about(campaign.FieldEmail) {
		c.faults.add(campaign.FieldEmail, "is required")
	}
	_, err := d.ReadToken()
	return err
}

// next reads a member. seen has the names of those before.
func (c *contactIn) next(d *jsontext.Decoder, seen map[string]bool) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	name := fieldName(token.String())
	value, err := d.ReadValue()
	switch {
	case err != nil:
		return err
	case name == "": // a column of a CSV file without a header
	case seen[name]:
		c.faults.add(name, "must be there once; white space around names does not count")
	default:
		seen[name] = true
		c.member(name, value)
	}
	return nil
}

// fieldName is a member's name without the white space that the header cells of
// CSV files have around them: a CR of the line's end, the byte order mark of
// the file's beginning.
func fieldName(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
}

func (c *contactIn) member(name string, value jsontext.Value) {
	switch {
	case name == campaign.FieldEmail:
		c.change.Address = c.string(name, value)
	case name == "status":
		status := strings.ToLower(strings.TrimSpace(c.string(name, value)))
		c.change.Status = campaign.ContactStatus(status)
	case name == "tags":
		c.tags(value)
	case slices.Contains(campaign.ReservedFields, name):
		// Clients send back what they have read.
	case value.Kind() == 'n':
		c.change.Remove = append(c.change.Remove, name)
		c.faults.check(name, campaign.CheckFieldName(name))
	default:
		c.field(name, value)
	}
}

// string reads a member that must be a string; "" for null, and for what is a
// fault.
func (c *contactIn) string(name string, value jsontext.Value) string {
	if kind := value.Kind(); kind != '"' && kind != 'n' {
		c.faults.add(name, "must be a string")
		return ""
	}
	s, _ := text(value)
	return s
}

func (c *contactIn) field(name string, value jsontext.Value) {
	s, isScalar := text(value)
	if !isScalar {
		c.faults.add(name, "must be a string, a number, true, false or null")
		return
	}
	c.change.Set[name] = s
}

// tags reads an array of strings, or one string with commas, as a column of a
// CSV file holds them. null takes all tags away.
func (c *contactIn) tags(value jsontext.Value) {
	tags := []string{}
	switch value.Kind() {
	case 'n':
	case '"':
		s, _ := text(value)
		for tag := range strings.SplitSeq(s, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				tags = append(tags, tag)
			}
			if len(tags) > campaign.MaxTags {
				break // a fault already
			}
		}
	default:
		if err := unmarshal(value, &tags); err != nil {
			c.faults.add("tags", "must be an array of strings")
			return
		}
	}
	c.change.Tags = &tags
}

// check gives every rule that the contact breaks; paths start with prefix.
func (c *contactIn) check(prefix string) []campaign.Fault {
	if !c.isObject {
		return []campaign.Fault{{Field: prefix, Rule: "must be an object"}}
	}
	var all []campaign.Fault
	for _, f := range c.faults {
		all = append(all, campaign.Fault{Field: prefix + f.Field, Rule: f.Rule})
	}
	for _, f := range c.change.Check(prefix) {
		// Where there is no address, a fault from reading says why.
		if c.change.Address != "" || f.Field != prefix+campaign.FieldEmail {
			all = append(all, f)
		}
	}
	return all
}

// contactsIn is the body of POST and PUT /contacts, in one of three shapes:
// {"contacts": [...]}, {"contact": {...}}, or the contact itself.
type contactsIn struct {
	contacts []contactIn
	// single: the body is one contact, and prefix leads its paths.
	single bool
	prefix string
}

// UnmarshalJSONFrom tells the shapes apart by the kinds of the members contact
// and contacts: as strings they are a contact's fields.
func (in *contactsIn) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	body, err := d.ReadValue()
	if err != nil {
		return err
	}
	if body.Kind() != '{' {
		return ruleError("must be an object")
	}
	var shape struct {
		Contact  jsontext.Value `json:"contact"`
		Contacts jsontext.Value `json:"contacts"`
	}
	if err := unmarshal(body, &shape); err != nil {
		return err
	}
	switch {
	case shape.Contacts.Kind() == '[':
		return in.list(body)
	case shape.Contact.Kind() == '{':
		return in.one(shape.Contact, "contact.")
	default:
		return in.one(body, "")
	}
}

// list decodes from the whole body, so that errors have the whole path.
func (in *contactsIn) list(body jsontext.Value) error {
	var list struct {
		Contacts contactList `json:"contacts"`
	}
	err := unmarshal(body, &list)
	in.contacts = list.Contacts
	return err
}

// contactList is contacts, up to those that have more faults than an answer
// shows: a text of many small faults would become many times its size.
type contactList []contactIn

// UnmarshalJSONFrom reads the array.
func (l *contactList) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for broken := 0; d.PeekKind() != ']'; {
		if broken > maxFieldErrors {
			if err := d.SkipValue(); err != nil {
				return err
			}
			continue
		}
		var c contactIn
		if err := json.UnmarshalDecode(d, &c); err != nil {
			return err
		}
		broken += len(c.faults)
		*l = append(*l, c)
	}
	_, err := d.ReadToken()
	return err
}

func (in *contactsIn) one(value jsontext.Value, prefix string) error {
	in.single, in.prefix = true, prefix
	in.contacts = make([]contactIn, 1)
	return unmarshal(value, &in.contacts[0])
}

// changes checks all contacts before any is stored. It gives up where there are
// more faults than an answer shows.
func (in *contactsIn) changes() ([]campaign.ContactChange, error) {
	var all faults
	seen := make(map[string]int, len(in.contacts))
	changes := make([]campaign.ContactChange, len(in.contacts))
	for i := range in.contacts {
		if len(all) > maxFieldErrors {
			break
		}
		c := &in.contacts[i]
		prefix := in.prefix
		if !in.single {
			prefix = fmt.Sprintf("contacts[%d].", i)
		}
		all = append(all, c.check(prefix)...)
		if first, twice := seen[c.change.Key()]; twice && c.change.Address != "" {
			all.add(prefix+"email", "must be there once, and is that of contacts[%d]", first)
		} else {
			seen[c.change.Key()] = i
		}
		changes[i] = c.change
	}
	return changes, all.err()
}
