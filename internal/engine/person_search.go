package engine

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// search looks for a person in all campaigns, newest first. A campaign that
// cannot be searched does not end it.
type search struct {
	e     *Engine
	key   string
	visit func(context.Context, finding) error
	// named is called for a campaign whose selection names the person, behind
	// its chunks.
	named func(ctx context.Context, id string) error

	at spot
	// left are campaigns in which the person may be, for all that this run
	// knows, and damaged those of them whose records cannot be read.
	left, damaged []string
}

// finding is a person's place in a campaign.
type finding struct {
	campaign campaign.Campaign
	chunk    store.LeaseKey
	audience campaign.Audience
	index    int
}

// spot is where a search goes on: in a chunk of a campaign, which the listing
// gives at a cursor. A campaign that was made since moves the first place.
type spot struct {
	chunk    int
	left     bool // there was a campaign in which the person may be left
	campaign string
	listing  string
}

func (s spot) String() string {
	return strings.Join([]string{strconv.Itoa(s.chunk), strconv.FormatBool(s.left), s.campaign, s.listing}, ":")
}

func parseSpot(cursor string) (spot, error) {
	if cursor == "" {
		return spot{chunk: 1}, nil
	}
	parts := strings.SplitN(cursor, ":", 4)
	if len(parts) == 4 {
		chunk, err := strconv.Atoi(parts[0])
		left, errLeft := strconv.ParseBool(parts[1])
		if err == nil && errLeft == nil && chunk > 0 {
			return spot{chunk, left, parts[2], parts[3]}, nil
		}
	}
	return spot{}, campaign.Invalid("cursor", "is not one of this search's")
}

// run searches for some seconds, one chunk or campaign at least, and gives
// where to go on.
func (s *search) run(ctx context.Context, cursor string) (next string, err error) {
	if s.at, err = parseSpot(cursor); err != nil {
		return "", err
	}
	began := time.Now()
	for {
		page, err := s.e.listCampaigns(ctx, s.at.listing, 1)
		if err != nil {
			return "", err
		}
		for _, d := range page.Damaged {
			s.leave(d.ID)
			s.damaged = append(s.damaged, d.ID)
		}
		for i := range page.Campaigns {
			c := &page.Campaigns[i]
			if s.at.campaign != c.ID {
				s.at.campaign, s.at.chunk = c.ID, 1
			}
			done, err := s.campaign(ctx, c, began)
			if ctx.Err() != nil {
				return "", context.Cause(ctx)
			}
			if err != nil {
				s.fail(ctx, c.ID, err)
			} else if !done {
				return s.at.String(), nil
			}
		}
		if page.Next == "" {
			return "", nil
		}
		s.at = spot{chunk: 1, left: s.at.left, listing: page.Next}
		if time.Since(began) > searchFor {
			return s.at.String(), nil
		}
	}
}

// leave notes that the person may still be in a campaign.
func (s *search) leave(id string) {
	s.at.left = true
	if !slices.Contains(s.left, id) {
		s.left = append(s.left, id)
	}
}

// fail leaves a campaign for a fault that is its own, unless it has forgotten
// its recipients meanwhile.
func (s *search) fail(ctx context.Context, id string, fault error) {
	if campaign.CodeOf(fault) == campaign.CodeNotFound {
		if c, err := s.e.store.GetCampaign(ctx, id); err == nil && !c.ExpiredAt.IsZero() {
			return
		}
	}
	s.leave(id)
	s.e.logFor(ctx).Error().Err(fault).Str("campaign", id).Msg("a campaign could not be searched for a person's data")
}

// campaign searches a campaign from the chunk of s.at on, which it moves; done
// is false when the time is over before.
func (s *search) campaign(ctx context.Context, c *campaign.Campaign, began time.Time) (done bool, err error) {
	control, err := s.e.store.GetLease(ctx, store.LeaseKey{CampaignID: c.ID})
	if err != nil {
		return true, err
	}
	if !c.ExpiredAt.IsZero() {
		gone, err := s.e.forgotten(ctx, c, control.Freeze.Chunks)
		if err == nil && !gone {
			s.leave(c.ID)
		}
		return true, err
	}
	if control.Owner != "" && !control.Freeze.Final {
		s.leave(c.ID) // its holder may have read the contact before
	}
	for first := true; s.at.chunk <= control.Freeze.Chunks; first = false {
		if !first && time.Since(began) > searchFor {
			return false, nil
		}
		if err := s.chunk(ctx, c); err != nil {
			if ctx.Err() != nil {
				return true, err
			}
			s.fail(ctx, c.ID, err)
		}
		s.at.chunk++
	}
	if slices.ContainsFunc(c.Audience.Addresses, func(address string) bool { return campaign.Key(address) == s.key }) {
		return true, s.named(ctx, c.ID)
	}
	return true, nil
}

// chunk searches the chunk of s.at.
func (s *search) chunk(ctx context.Context, c *campaign.Campaign) (err error) {
	f := finding{campaign: *c, chunk: store.LeaseKey{CampaignID: c.ID, Number: s.at.chunk}}
	if f.audience, err = readAudience(ctx, s.e.store, f.chunk); err != nil {
		return err
	}
	if f.index = f.audience.Find(s.key); f.index < 0 {
		return nil
	}
	return s.visit(ctx, f)
}

func readAudience(ctx context.Context, s store.Store, chunk store.LeaseKey) (campaign.Audience, error) {
	packed, err := s.GetAudience(ctx, chunk)
	if err != nil {
		return campaign.Audience{}, err
	}
	audience, err := campaign.UnpackAudience(packed)
	if err != nil {
		return campaign.Audience{}, campaign.Wrap(campaign.CodeInternal, err, "the campaign's audience cannot be read")
	}
	return audience, nil
}
