package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"postern/internal/campaign"
	"postern/internal/mailer"
)

// contentPurpose is what the key is for that content is named with.
const contentPurpose = "postern content 1"

// head is what of a letter is neither its text nor its sender: it is sealed
// into the campaign's record.
type head struct {
	Subject string           `json:"subject"` // template
	ReplyTo campaign.Mailbox `json:"reply_to"`
	Files   []fileHead       `json:"files"` // of the attachments, in their order
}

type fileHead struct {
	Filename    string `json:"filename"` // base name, any script
	ContentType string `json:"content_type"`
}

// attachments are the files without their data.
func (h head) attachments() []mailer.Attachment {
	out := make([]mailer.Attachment, len(h.Files))
	for i, f := range h.Files {
		out[i] = mailer.Attachment{Filename: f.Filename, ContentType: f.ContentType}
	}
	return out
}

// sealLetter names the submission's content and seals the rest.
func (e *Engine) sealLetter(id string, s Submission) (campaign.Letter, error) {
	key, err := e.sealer.DeriveFor(e.sealer.KeyIDs()[0], contentPurpose)
	if err != nil {
		return campaign.Letter{}, fmt.Errorf("derive the key of content: %w", err)
	}
	l := campaign.Letter{From: s.From, HTML: refTo([]byte(s.HTML), key, id)}
	h := head{Subject: s.Subject, ReplyTo: s.ReplyTo}
	for _, f := range s.Attachments {
		l.Attachments = append(l.Attachments, refTo(f.Data, key, id))
		h.Files = append(h.Files, fileHead{mailer.BaseName(f.Filename), f.ContentType})
	}
	plain, err := json.Marshal(h)
	if err != nil {
		return campaign.Letter{}, campaign.Wrap(campaign.CodeInternal, err, "cannot encode the letter's head")
	}
	l.SealedHead = e.sealer.Seal(plain, headContext(id))
	return l, nil
}

// openHead opens what sealLetter has sealed.
func (e *Engine) openHead(c campaign.Campaign) (h head, err error) {
	plain, err := e.sealer.Open(c.Letter.SealedHead, headContext(c.ID))
	if err == nil {
		err = json.Unmarshal(plain, &h)
	}
	if err == nil && len(h.Files) != len(c.Letter.Attachments) {
		err = fmt.Errorf("it is about %d files of %d", len(h.Files), len(c.Letter.Attachments))
	}
	if err != nil {
		return head{}, campaign.Wrap(campaign.CodeInternal, err, "the letter's head cannot be opened")
	}
	return h, nil
}

// refTo names content of a campaign: HMAC-SHA-256 over the campaign's id, a line
// feed and the content's SHA-256.
func refTo(plain, key []byte, campaignID string) campaign.ContentRef {
	sum := sha256.Sum256(plain)
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s\n%s", campaignID, sum[:])
	return campaign.ContentRef{Digest: hex.EncodeToString(mac.Sum(nil)), Size: int64(len(plain))}
}

// sealContent seals what the campaign's letter names, each file in its own
// memory. A file that is there twice is sealed once.
func (e *Engine) sealContent(c campaign.Campaign, s Submission) map[string][]byte {
	content := map[string][]byte{}
	add := func(plain []byte, digest string) {
		if _, twice := content[digest]; !twice {
			content[digest] = e.sealer.SealOver(plain, contentContext(c.ID, digest))
		}
	}
	add([]byte(s.HTML), c.Letter.HTML.Digest)
	for i, f := range s.Attachments {
		add(f.Data, c.Letter.Attachments[i].Digest)
	}
	return content
}

func headContext(id string) string { return "letter's head of campaign " + id }
