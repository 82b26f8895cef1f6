package main

import (
	"context"

	"postern/internal/campaign"
	"postern/internal/store"
)

// snapshot is what the store has of a campaign.
type snapshot struct {
	control store.Lease
	owners  map[string]string                 // of the chunk that each address is in
	chunks  map[string]int                    // the chunk that each address is in
	states  map[string]campaign.DeliveryState // of the rows
}

// recorded says whether the store knows what became of a recipient.
func (s *snapshot) recorded(address string) bool {
	state, found := s.states[address]
	return found && state.Terminal()
}

// snap reads a campaign's rows. The audience is read on demand: it says whose
// chunk an address is in.
func (f *fleet) snap(ctx context.Context, c *course, audience bool) (*snapshot, error) {
	s := &snapshot{owners: map[string]string{}, chunks: map[string]int{}, states: map[string]campaign.DeliveryState{}}
	err := f.look(func(st store.Store) error {
		id, err := idOf(ctx, st, c)
		if err != nil || id == "" {
			return err
		}
		if s.control, err = st.GetLease(ctx, store.LeaseKey{CampaignID: id}); err != nil {
			return err
		}
		for n := 1; n <= s.control.Freeze.Chunks && err == nil; n++ {
			key := store.LeaseKey{CampaignID: id, Number: n}
			if err = s.readRows(ctx, st, key); err == nil && audience {
				err = s.readChunk(ctx, st, key)
			}
		}
		return err
	})
	return s, err
}

// idOf finds a campaign whose acceptance was not answered; "" when there is
// none.
func idOf(ctx context.Context, st store.Store, c *course) (string, error) {
	if c.id != "" {
		return c.id, nil
	}
	page, err := st.ListCampaigns(ctx, "", 5)
	newest := page.Campaigns
	for i := range newest {
		if newest[i].Letter.From.Address == c.from {
			return newest[i].ID, err
		}
	}
	return "", err
}

func (s *snapshot) readRows(ctx context.Context, st store.Store, key store.LeaseKey) error {
	rows, err := st.Deliveries(ctx, key)
	for i := range rows {
		s.states[rows[i].Address] = rows[i].State
	}
	return err
}

func (s *snapshot) readChunk(ctx context.Context, st store.Store, key store.LeaseKey) error {
	lease, err := st.GetLease(ctx, key)
	if err != nil {
		return err
	}
	packed, err := st.GetAudience(ctx, key)
	if err != nil {
		return err
	}
	audience, err := campaign.UnpackAudience(packed)
	for _, r := range audience.Recipients {
		s.chunks[r.Address], s.owners[r.Address] = key.Number, lease.Owner
	}
	return err
}
