package mailer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"postern/internal/campaign"
)

// Limits of a letter in octets.
const (
	maxNameOctets = 1000 // a display name
	// maxBodyOctets bounds the encoded text and HTML that all messages share.
	maxBodyOctets = 8 << 20
	// maxPersonalOctets bounds what a contact's fields make of the encoded text
	// and HTML of one message. Each connection of a relay has two messages
	// rendered at most, and no other limit counts this memory.
	maxPersonalOctets = 2 << 20
)

// Content is a letter as a campaign has it. Subject and HTML are templates:
// {{field}} and {{field | default: "text"}} for any field of a contact, and
// {{email}}. A field that a contact does not have or that is empty renders the
// default, or nothing. Values and defaults are escaped in the HTML and never
// expanded again. How, follows from where a placeholder stands: in text, in an
// attribute, in a URL, which a field can begin with http, https, mailto, tel and
// cid only; anywhere else, as in scripts, styles, comments and names, it is a fault.
type Content struct {
	Subject     string // at most 2,000 octets
	HTML        string // at most 1 MiB and 1,000 placeholders
	From        campaign.Mailbox
	ReplyTo     campaign.Mailbox // zero for none
	Attachments []Attachment
	// Date is the letter's, the same for every message and every attempt.
	Date time.Time
	// Accepted: the letter was accepted earlier, perhaps by a version that
	// knew no faults of place. A field at such a place is escaped as text.
	Accepted bool
}

// Letter is compiled content: the octets that all messages share, and between
// them the places of those that are one recipient's. It does not change and
// any number of goroutines may render it.
type Letter struct {
	fields []string
	pieces []piece
	// bodyOctets is the encoded size of the shared parts of text and HTML.
	bodyOctets int
	// sharedOctets are in every message, attachments included.
	sharedOctets int64
	// smtputf8: an address in From or Reply-To needs it.
	smtputf8 bool
}

// Compile checks content and makes a letter of it. The same content makes the
// same letter in every process, octet by octet.
//
// The error is a *campaign.Error: CodeInvalid with all faults, their fields
// being subject, body, from_email, reply_to, attachments[i].filename and
// attachments[i].content_type, and for templates with the line and column.
func Compile(c Content) (*Letter, error) {
	d, faults := c.check()
	if len(faults) > 0 {
		return nil, campaign.InvalidAll(faults)
	}
	d.text = d.html.plainText()
	structure, err := compose(c.digest(), d.files)
	if err != nil {
		return nil, campaign.Wrap(campaign.CodeInternal, err, "the letter could not be composed")
	}
	l := d.assemble(structure)
	if l.bodyOctets > maxBodyOctets {
		return nil, campaign.Invalid("body", "must be at most %d octets when encoded", maxBodyOctets)
	}
	return l, nil
}

// Fields are the contact fields that Render needs the values of, in this
// order: first_name and last_name, which name the recipient, then the
// template's others, sorted. The address is not among them.
func (l *Letter) Fields() []string { return slices.Clone(l.fields) }

// digest tells letters apart. It does not cover what attachments hold, since
// nothing needs it to.
func (c Content) digest() string {
	h := sha256.New()
	for _, s := range []string{c.Subject, c.HTML, c.From.Address, c.Date.UTC().Format(time.RFC3339)} {
		fmt.Fprintf(h, "%d %s ", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// draft is checked content.
type draft struct {
	content       Content
	subject       template
	html, text    template
	from, replyTo string // as on the wire; replyTo "" for none
	smtputf8      bool
	files         []file
}

func (c Content) check() (d draft, faults []campaign.Fault) {
	d.content = c
	fault := func(field, rule string) {
		faults = append(faults, campaign.Fault{Field: field, Rule: rule})
	}
	var rules []string
	if err := campaign.CheckHeaderText(c.Subject); err != nil {
		rules = []string{err.Error()}
	} else {
		d.subject, rules = subjectSyntax.parse(c.Subject)
	}
	for _, rule := range rules {
		fault("subject", rule)
	}
	d.html, rules = htmlSyntax.parse(c.HTML)
	if len(rules) == 0 {
		if rules = d.html.place(c.HTML); c.Accepted {
			rules = nil
		}
	}
	for _, rule := range rules {
		fault("body", rule)
	}
	d.checkMailboxes(fault)
	if c.Date.IsZero() {
		fault("date", "must be set")
	}
	return d, append(faults, d.checkAttachments()...)
}

func (d *draft) checkMailboxes(fault func(field, rule string)) {
	check := func(field string, m campaign.Mailbox) (wire string) {
		wire, utf8, err := campaign.WireAddress(m.Address)
		if err == nil {
			err = checkName(m.Name)
		}
		if err == nil {
			err = campaign.CheckShownName(m.Name)
		}
		if err != nil {
			fault(field, err.Error())
		}
		d.smtputf8 = d.smtputf8 || utf8
		return wire
	}
	d.from = check("from_email", d.content.From)
	if d.content.ReplyTo != (campaign.Mailbox{}) {
		d.replyTo = check("reply_to", d.content.ReplyTo)
	}
}

func checkName(name string) error {
	if len(name) > maxNameOctets {
		return fmt.Errorf("must have a name of at most %d octets", maxNameOctets)
	}
	return campaign.CheckHeaderText(name)
}

func (d *draft) checkAttachments() (faults []campaign.Fault) {
	attachments := d.content.Attachments
	if len(attachments) > maxAttachments {
		return []campaign.Fault{{Field: "attachments", Rule: fmt.Sprintf("must be at most %d", maxAttachments)}}
	}
	for i, a := range attachments {
		f, broken := a.check(fmt.Sprintf("attachments[%d]", i))
		d.files = append(d.files, f)
		faults = append(faults, broken...)
	}
	return faults
}

// fields gives the fields that the templates use.
func (d *draft) fields() []string {
	var others []string
	for _, t := range []template{d.subject, d.html} {
		for _, s := range t {
			switch s.field {
			case "", campaign.FieldEmail, campaign.FieldFirstName, campaign.FieldLastName:
			default:
				others = append(others, s.field)
			}
		}
	}
	slices.Sort(others)
	return append([]string{campaign.FieldFirstName, campaign.FieldLastName}, slices.Compact(others)...)
}
