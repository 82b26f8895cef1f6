package audit

import (
	"encoding/json"
	"io"
	"time"

	"postern/internal/campaign"
)

// Line is a line of an export: exactly one of its members is there. An export
// is one line with the campaign, the links of the campaign's own chain, then for
// each chunk a line with the chunk, its links and its rows, and at last a line
// that ends it. Hashes and digests are in hexadecimal, payloads and signatures
// in base64, times in RFC 3339.
type Line struct {
	Campaign *CampaignLine `json:"campaign,omitempty"`
	Chunk    *ChunkLine    `json:"chunk,omitempty"`
	Link     *LinkLine     `json:"link,omitempty"`
	Row      *RowLine      `json:"row,omitempty"`
	End      *EndLine      `json:"end,omitempty"`
}

// CampaignLine is the campaign as it is stored.
type CampaignLine struct {
	CampaignID string          `json:"campaign_id"`
	Name       string          `json:"campaign_name"`
	Status     campaign.Status `json:"status"`
	// Links and Head are the end of the campaign's own chain.
	Links int64         `json:"links"`
	Head  campaign.Hash `json:"head"`
	// Chunks is how many chunks follow.
	Chunks int `json:"chunks"`
}

// ChunkLine is a chunk as its lease is stored.
type ChunkLine struct {
	Chunk int `json:"chunk"`
	// Size is the number of its recipients, and Settled of those among them
	// that have a result.
	Size    int `json:"size"`
	Settled int `json:"settled"`
	// Links and Head are the end of its chain.
	Links int64         `json:"links"`
	Head  campaign.Hash `json:"head"`
	// AtWork: results were being written while the chunk was read, so its rows
	// are left out.
	AtWork bool `json:"at_work,omitempty"`
}

// LinkLine is a link of the chain of the chunk; 0 is the campaign's own.
type LinkLine struct {
	Chunk   int           `json:"chunk"`
	Link    int64         `json:"link"`
	Hash    campaign.Hash `json:"hash"`
	Payload []byte        `json:"payload"`
	// Event is the payload of a link of the campaign's own chain, for those who
	// read the export. The hash is over Payload.
	Event json.RawMessage `json:"event,omitempty"`
}

// RowLine is a delivery as it is stored.
type RowLine struct {
	Chunk     int                    `json:"chunk"`
	Index     int                    `json:"index"`
	Email     string                 `json:"email"` // "" once the person is erased
	State     campaign.DeliveryState `json:"state"`
	Attempts  int                    `json:"attempts"`
	Reply     string                 `json:"reply"`
	MessageID string                 `json:"message_id"`
	Digest    string                 `json:"message_digest"` // hexadecimal
	UpdatedAt time.Time              `json:"updated_at"`
	// PersonKey and Person are the digest of the address, made for the export
	// with the key of the record; there is none for an erased person, or where
	// the service does not have that key any more.
	PersonKey *campaign.KeyID        `json:"person_key,omitempty"`
	Person    *campaign.PersonDigest `json:"person,omitempty"`
}

// EndLine ends an export, so that one that was cut off is seen to be.
type EndLine struct {
	Lines int64 `json:"lines"` // in front of this one
}

// ParseLine reads a line of an export.
func ParseLine(text []byte) (l Line, err error) {
	err = json.Unmarshal(text, &l)
	return l, err
}

// Writer writes an export.
type Writer struct {
	out   *json.Encoder
	lines int64
}

// NewWriter makes a Writer to w.
func NewWriter(w io.Writer) *Writer {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return &Writer{out: out}
}

// Write adds a line.
func (w *Writer) Write(l Line) error {
	w.lines++
	return w.out.Encode(l)
}

// Link adds a line with a link of the chain of a chunk; 0 is the campaign's
// own.
func (w *Writer) Link(chunk int, l campaign.Link) error {
	line := LinkLine{Chunk: chunk, Link: l.Number, Hash: l.Hash, Payload: l.Payload}
	if chunk == 0 && json.Valid(l.Payload) {
		line.Event = l.Payload
	}
	return w.Write(Line{Link: &line})
}

// End adds the last line.
func (w *Writer) End() error { return w.Write(Line{End: &EndLine{Lines: w.lines}}) }
