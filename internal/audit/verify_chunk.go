package audit

import (
	"encoding/hex"
	"maps"
	"slices"

	"postern/internal/campaign"
)

// chunk checks the chain of a chunk and its rows.
type chunk struct {
	line  ChunkLine
	log   *log
	chain chain
	// recipients are what the records say, by index.
	recipients map[int]recipient
	counts     campaign.Totals
	ended      bool // all links have come
	rows       map[int]bool
}

// recipient is the last result of a recipient by the records.
type recipient struct {
	campaign.Result

	link int64 // that has it
	// open: a retry has taken the result back; the row keeps it until the next.
	open bool
}

func newChunk(line ChunkLine, l *log) *chunk {
	c := &chunk{
		line: line, log: l,
		chain:      chain{report: l.report, campaignID: l.chain.campaignID, number: line.Chunk},
		recipients: map[int]recipient{}, rows: map[int]bool{},
		counts: campaign.Totals{Total: int64(line.Size)},
	}
	l.joins(line.Chunk, campaign.Chain{}, c.counts)
	return c
}

func (c *chunk) link(l LinkLine) {
	c.log.report.Links++
	if l.Link > c.log.covered(c.line.Chunk) {
		c.log.report.Unsigned++
	}
	sound := c.chain.follow(l)
	record, err := campaign.DecodeRecord(l.Payload)
	if err != nil {
		if sound {
			c.chain.fault(l.Link, "its payload is no record")
		}
		return
	}
	for _, r := range record.Results {
		c.result(l.Link, r)
	}
	for _, index := range record.Reopened {
		c.reopened(l.Link, index)
	}
	c.log.joins(c.line.Chunk, c.chain.end, c.counts)
}

func (c *chunk) result(link int64, r campaign.Result) {
	before, settled := c.recipients[r.Index]
	settled = settled && !before.open
	switch {
	case r.Index >= c.line.Size:
		c.chain.fault(link, "it has recipient %d, and the chunk has %d", r.Index, c.line.Size)
		return
	case settled && (r.State != campaign.DeliverySent || before.State == campaign.DeliverySent):
		c.chain.fault(link, "recipient %d is %s by it, and was %s by link %d already", r.Index, r.State, before.State, before.link)
	case settled: // a late acknowledgement
		c.counts.Count(before.State, -1)
	}
	c.counts.Count(r.State, 1)
	c.recipients[r.Index] = recipient{Result: r, link: link}
}

func (c *chunk) reopened(link int64, index int) {
	r, known := c.recipients[index]
	if !known || r.open || (r.State != campaign.DeliveryFailed && r.State != campaign.DeliveryUnknown) {
		c.chain.fault(link, "it takes back a result of recipient %d, who has none to take back", index)
		return
	}
	c.counts.Count(r.State, -1)
	r.open = true
	c.recipients[index] = r
}

// row compares a row with the last record of its recipient.
func (c *chunk) row(row RowLine) {
	c.endLinks()
	c.log.report.Rows++
	r, known := c.recipients[row.Index]
	twice := c.rows[row.Index]
	c.rows[row.Index] = true
	switch {
	case twice:
		c.log.report.problem(c.line.Chunk, r.link, "the row of recipient %d is there twice", row.Index)
	case row.State == campaign.DeliveryPending && (!known || r.open):
		// It tells of an attempt that has not settled anything.
	case !known:
		c.log.report.problem(c.line.Chunk, 0, "recipient %d is %s by its row, and no link says so", row.Index, row.State)
	default:
		if what := differs(row, r.Result); what != "" {
			c.log.report.problem(c.line.Chunk, r.link, "the row of recipient %d has another %s than the record", row.Index, what)
		} else if row.Email == "" && r.Person != (campaign.Person{}) && !c.log.erased[r.Person] {
			c.log.report.problem(c.line.Chunk, r.link, "the row of recipient %d has no address, and no event says that the person was erased", row.Index)
		}
		if row.Person == nil && r.Person != (campaign.Person{}) {
			c.log.report.Unchecked++
		}
	}
}

// isBlank says whether all that tells of the person was taken out of the row.
func isBlank(row RowLine) bool { return row.Email == "" && row.Reply == "" && row.MessageID == "" }

// differs names what a row says otherwise than the record; "" for nothing.
// What was erased with a person is not compared.
func differs(row RowLine, r campaign.Result) string {
	reply := campaign.AuditReply(row.Reply, row.Email)
	switch {
	case row.State != r.State:
		return "state"
	case row.Attempts != r.Attempts:
		return "number of attempts"
	case row.Digest != hex.EncodeToString(r.Digest):
		return "digest of the message"
	case row.UpdatedAt.UnixMilli() != r.At.UnixMilli():
		return "time"
	case !isBlank(row) && reply != r.Reply:
		return "reply"
	case row.Person != nil && (row.PersonKey == nil || campaign.Person{Key: *row.PersonKey, Digest: *row.Person} != r.Person):
		return "address"
	}
	return ""
}

// endLinks checks the chain's end, once all its links have come.
func (c *chunk) endLinks() {
	if c.ended {
		return
	}
	c.ended = true
	c.chain.ends(c.line.Links, c.line.Head)
	c.log.missing(c.line.Chunk, c.chain.end)
	settled := 0
	for _, r := range c.recipients {
		if !r.open {
			settled++
		}
	}
	if !c.chain.broken && settled != c.line.Settled {
		c.chain.fault(c.line.Links, "%d recipients have a result by the chunk's lease, and %d by its links", c.line.Settled, settled)
	}
}

// finish ends the chunk: no row may be missing.
func (c *chunk) finish() {
	c.endLinks()
	if c.line.AtWork {
		c.log.report.AtWork++
		return
	}
	if c.log.expired {
		return
	}
	for _, index := range slices.Sorted(maps.Keys(c.recipients)) {
		if !c.rows[index] {
			c.log.report.problem(c.line.Chunk, c.recipients[index].link, "the row of recipient %d is missing", index)
		}
	}
}
