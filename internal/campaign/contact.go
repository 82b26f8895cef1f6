package campaign

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// ContactStatus says whether a contact may be mailed.
type ContactStatus string

// The statuses of a contact. Only active ones are mailed.
const (
	ContactActive       ContactStatus = "active"
	ContactUnsubscribed ContactStatus = "unsubscribed"
	ContactBounced      ContactStatus = "bounced"
	ContactComplained   ContactStatus = "complained"
)

// ContactStatuses are all statuses, for checks and messages.
var ContactStatuses = []ContactStatus{ContactActive, ContactUnsubscribed, ContactBounced, ContactComplained}

// Contact is a person whom campaigns can reach.
type Contact struct {
	// Address is as it was given last; Key(Address) identifies the contact.
	Address string
	// Fields are what templates can use besides email: first_name and so on.
	// Email and the members below are not among them.
	Fields map[string]string
	Tags   []string
	Status ContactStatus

	CreatedAt time.Time
	UpdatedAt time.Time

	// Statistics, applied when a chunk of a campaign is done. Zero values
	// mean that no campaign has reached the contact.
	EmailCount    int64
	LastEmailSent time.Time
	LastCampaign  string // campaign id
}

// Key identifies the contact in the store.
func (c Contact) Key() string { return Key(c.Address) }

// Field gives a template field's value; "" where the contact has none.
func (c Contact) Field(name string) string {
	if name == FieldEmail {
		return c.Address
	}
	return c.Fields[name]
}

// Names of fields with a meaning of their own.
const (
	FieldEmail     = "email"
	FieldFirstName = "first_name"
	FieldLastName  = "last_name"
)

// Limits of a contact. They keep it far below the 400 KB of a DynamoDB item.
const (
	MaxContactFields   = 100
	MaxFieldNameOctets = 64
	MaxContactOctets   = 64 << 10
	MaxTags            = 100
	MaxTagOctets       = 128
)

// ReservedFields are members of a stored contact that are not fields of the
// caller's. Clients read them and send them back; on the way in they are
// ignored, except status and tags, which have their own meaning.
var ReservedFields = []string{
	"email", "email_as_given", "status", "tags", "created_at", "updated_at",
	"email_count", "last_email_sent", "last_campaign",
}

// ContactChange is one write to a contact: what it names is set, what it does
// not name stays as it is. So a CSV that is imported again with fewer columns
// takes nothing away, and a person who unsubscribed stays unsubscribed unless
// Status says otherwise.
type ContactChange struct {
	Address string
	Set     map[string]string
	Remove  []string // names of fields to take away
	Tags    *[]string
	Status  ContactStatus // "" leaves it (a new contact is active)
}

// Key identifies the contact in the store.
func (c ContactChange) Key() string { return Key(c.Address) }

// Check gives every rule that the change breaks. Field paths start with
// prefix, which is "" or ends with a dot.
func (c ContactChange) Check(prefix string) []Fault {
	var faults []Fault
	fault := func(field, format string, args ...any) {
		path := prefix + field
		if field == "" { // the contact as a whole
			path = cmp.Or(strings.TrimSuffix(prefix, "."), "contact")
		}
		faults = append(faults, Fault{Field: path, Rule: fmt.Sprintf(format, args...)})
	}
	if err := CheckAddress(c.Address); err != nil {
		fault("email", "%s", err)
	}
	if c.Status != "" && !slices.Contains(ContactStatuses, c.Status) {
		fault("status", "must be one of %s", joinStatuses())
	}
	octets := len(c.Address)
	for name, value := range c.Set {
		octets += len(name) + len(value)
		if err := CheckFieldName(name); err != nil {
			fault(shorten(name), "%s", err)
		} else if !utf8.ValidString(value) {
			fault(name, "must be valid UTF-8")
		}
	}
	if c.Tags != nil {
		octets += c.checkTags(fault)
	}
	if len(c.Set) > MaxContactFields {
		fault("", "must have at most %d fields", MaxContactFields)
	}
	if octets > MaxContactOctets {
		fault("", "must be at most %d octets in all", MaxContactOctets)
	}
	slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Field, b.Field) })
	return faults
}

func (c ContactChange) checkTags(fault func(field, format string, args ...any)) (octets int) {
	if len(*c.Tags) > MaxTags {
		fault("tags", "must be at most %d", MaxTags)
	}
	for i, tag := range *c.Tags {
		octets += len(tag)
		if i >= MaxTags {
			continue // too many is fault enough
		}
		if tag == "" || len(tag) > MaxTagOctets || !utf8.ValidString(tag) {
			fault(fmt.Sprintf("tags[%d]", i), "must be valid UTF-8 of 1 to %d octets", MaxTagOctets)
		}
	}
	return octets
}

// CheckFieldName says whether name may be a contact's field and so stand
// between the braces of a template. The error is the rule that it broke.
func CheckFieldName(name string) error {
	if name == "" || len(name) > MaxFieldNameOctets {
		return fmt.Errorf("must be a field name of 1 to %d octets", MaxFieldNameOctets)
	}
	if strings.TrimSpace(name) != name {
		return fmt.Errorf("must be a field name without white space around it")
	}
	if strings.ContainsAny(name, `{}|"`) || CheckHeaderText(name) != nil {
		return fmt.Errorf(`must be a field name without { } | " and control characters`)
	}
	return nil
}

func joinStatuses() string {
	names := make([]string, len(ContactStatuses))
	for i, s := range ContactStatuses {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// shorten keeps an error message readable when a hostile name is in it.
func shorten(s string) string {
	const most = 40
	if len(s) <= most {
		return strings.ToValidUTF8(s, "?")
	}
	return strings.ToValidUTF8(s[:most], "?") + "..."
}
