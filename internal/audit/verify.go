package audit

import (
	"bufio"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"postern/internal/campaign"
)

// maxLine bounds a line of an export, in octets.
const maxLine = 16 << 20

// Verify checks an export, with the public keys that may have signed its roots.
// What is wrong with the trail is in the report; the error is about an export
// that cannot be read, or is cut off. It holds one chunk in memory at a time.
func Verify(in io.Reader, keys []ed25519.PublicKey) (Report, error) {
	v := verifier{keys: keys}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		l, err := ParseLine(lines.Bytes())
		if err == nil {
			err = v.take(l)
		}
		if err != nil {
			return v.report, fmt.Errorf("line %d of the export: %w", v.lines+1, err)
		}
		v.lines++
	}
	if err := lines.Err(); err != nil {
		return v.report, fmt.Errorf("read the export: %w", err)
	}
	if !v.ended {
		return v.report, errors.New("the export is cut off: its last line is missing")
	}
	return v.report, nil
}

// verifier takes an export line by line.
type verifier struct {
	keys   []ed25519.PublicKey
	report Report
	lines  int64
	ended  bool

	campaign CampaignLine
	log      log
	// chunk is the one at hand; nil in front of the first.
	chunk *chunk
	done  int // chunks that are done
}

var errOrder = errors.New("it has no place there")

func (v *verifier) take(l Line) error {
	if v.ended || (l.Campaign != nil) != (v.lines == 0) {
		return errOrder
	}
	switch {
	case l.Campaign != nil:
		v.begin(*l.Campaign)
	case l.Link != nil:
		return v.link(*l.Link)
	case l.Chunk != nil:
		return v.nextChunk(*l.Chunk)
	case l.Row != nil:
		if v.chunk == nil || l.Row.Chunk != v.chunk.line.Chunk {
			return errOrder
		}
		v.chunk.row(*l.Row)
	case l.End != nil:
		if l.End.Lines != v.lines {
			return fmt.Errorf("%d lines of %d are there", v.lines, l.End.Lines)
		}
		v.end()
	default:
		return errOrder
	}
	return nil
}

func (v *verifier) begin(c CampaignLine) {
	v.campaign = c
	v.report.CampaignID, v.report.Name, v.report.Status = c.CampaignID, c.Name, c.Status
	v.log = log{report: &v.report, keys: v.keys, chain: chain{report: &v.report, campaignID: c.CampaignID}}
}

func (v *verifier) link(l LinkLine) error {
	switch {
	case v.chunk == nil && l.Chunk == 0:
		v.log.link(l)
	case v.chunk != nil && l.Chunk == v.chunk.line.Chunk && !v.chunk.ended:
		v.chunk.link(l)
	default:
		return errOrder
	}
	return nil
}

func (v *verifier) nextChunk(line ChunkLine) error {
	v.finishPart()
	if line.Chunk != v.done+1 {
		return errOrder
	}
	v.done++
	v.chunk = newChunk(line, &v.log)
	return nil
}

// finishPart ends the campaign's own chain, or the chunk at hand.
func (v *verifier) finishPart() {
	if v.chunk == nil {
		v.log.finish(v.campaign)
		return
	}
	v.chunk.finish()
}

func (v *verifier) end() {
	v.finishPart()
	v.ended = true
	v.report.Chunks = v.done
	v.report.UnsignedEvents = v.report.Events - v.log.signed
	if v.done < v.campaign.Chunks {
		v.report.problem(v.done+1, 0, "the chunk is missing; the campaign has %d", v.campaign.Chunks)
	}
	v.log.checkRoots(v.done)
}

// chain follows the links of one chain.
type chain struct {
	report     *Report
	campaignID string
	number     int
	end        campaign.Chain
	broken     bool
}

// follow says whether the link follows those before. Only the first one that
// does not is a problem: what comes behind it cannot be told. The rest is
// followed from where the link says that it stands.
func (c *chain) follow(l LinkLine) bool {
	next := c.end.Next(c.campaignID, c.number, l.Payload)
	was := c.end
	c.end = campaign.Chain{Links: l.Link, Head: l.Hash}
	switch {
	case l.Link != was.Links+1:
		c.fault(was.Links+1, "the link is missing: link %d follows link %d", l.Link, was.Links)
		return false
	case l.Hash != next.Head:
		c.fault(l.Link, "the link was changed: its hash is not that of the link before it and its payload")
		return false
	}
	return true
}

func (c *chain) fault(link int64, format string, args ...any) {
	if !c.broken {
		c.report.problem(c.number, link, format, args...)
	}
	c.broken = true
}

// ends checks the chain's end against what is stored as such.
func (c *chain) ends(links int64, head campaign.Hash) {
	switch {
	case c.end.Links < links:
		c.fault(c.end.Links+1, "the link is missing: the chain has %d links of %d", c.end.Links, links)
	case c.end.Links > links:
		c.fault(links+1, "the link is beyond the end of the chain, which has %d", links)
	case c.end.Head != head:
		c.fault(links, "the chain's end was changed: it is not the hash of the last link")
	}
}
