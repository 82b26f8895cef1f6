package bolt

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// TestDamagedValues: a value that cannot be read is an error that names it.
func TestDamagedValues(t *testing.T) {
	t.Parallel()
	const id = "019a0000-0000-7000-8000-000000000001"
	chunk := store.LeaseKey{CampaignID: id, Number: 1}
	person := campaign.ContactChange{Address: "ann@example.org"}
	requestKey := sha256.Sum256([]byte("key"))
	tests := map[string]struct {
		bucket string
		key    []byte
		code   campaign.Code
		calls  map[string]func(ctx context.Context, s *Store) error
	}{
		"contact": {contactsBucket, []byte(person.Key()), campaign.CodeInternal, map[string]func(context.Context, *Store) error{
			"get": func(ctx context.Context, s *Store) error {
				_, err := s.GetContacts(ctx, []string{person.Key()})
				return err
			},
			"list": func(ctx context.Context, s *Store) error { _, _, err := s.ListContacts(ctx, "", 9); return err },
			"upsert": func(ctx context.Context, s *Store) error {
				return s.UpsertContacts(ctx, []campaign.ContactChange{person}, time.Now())
			},
		}},
		"campaign": {campaignsBucket, []byte(id), campaign.CodeDamaged, map[string]func(context.Context, *Store) error{
			"get": func(ctx context.Context, s *Store) error { _, err := s.GetCampaign(ctx, id); return err },
			"list": func(ctx context.Context, s *Store) error {
				page, err := s.ListCampaigns(ctx, "", 9)
				if err != nil || len(page.Damaged) != 1 || page.Damaged[0].ID != id {
					return errors.Join(err, errors.New("it is not told"))
				}
				return page.Damaged[0].Err
			},
			"create": func(ctx context.Context, s *Store) error {
				_, _, err := s.CreateCampaign(ctx, store.NewCampaign{Campaign: campaign.Campaign{ID: id}})
				return err
			},
		}},
		"key": {idempotencyBucket, requestKey[:], campaign.CodeInternal, map[string]func(context.Context, *Store) error{
			"find": func(ctx context.Context, s *Store) error { _, err := s.FindByKey(ctx, "key", ""); return err },
			"create": func(ctx context.Context, s *Store) error {
				_, _, err := s.CreateCampaign(ctx, store.NewCampaign{Campaign: campaign.Campaign{ID: id}, IdempotencyKey: "key"})
				return err
			},
		}},
		"lease": {leasesBucket, leaseKey(chunk), campaign.CodeInternal, map[string]func(context.Context, *Store) error{
			"get": func(ctx context.Context, s *Store) error { _, err := s.GetLease(ctx, chunk); return err },
			"renew": func(ctx context.Context, s *Store) error {
				_, err := s.RenewLease(ctx, store.Lease{Key: chunk})
				return err
			},
		}},
		"deliveries": {deliveriesBucket, deliveriesKey(chunk, 3), campaign.CodeInternal, map[string]func(context.Context, *Store) error{
			"read": func(ctx context.Context, s *Store) error { _, err := s.Deliveries(ctx, chunk); return err },
			"absorb": func(ctx context.Context, s *Store) error {
				return errors.Join(
					s.update(ctx, func(t *tx) error { return t.addLease(store.Lease{Key: chunk, Size: 1}) }),
					s.Absorb(ctx, chunk, rows(0, 1)))
			},
		}},
		"cell": {cellsBucket, []byte("relay"), campaign.CodeInternal, map[string]func(context.Context, *Store) error{
			"get": func(ctx context.Context, s *Store) error { _, err := s.GetCell(ctx, "relay"); return err },
			"swap": func(ctx context.Context, s *Store) error {
				_, err := s.SwapCell(ctx, "relay", store.Cell{}, nil)
				return err
			},
		}},
		"signal": {metaBucket, []byte(signalKey), campaign.CodeInternal, map[string]func(context.Context, *Store) error{
			"read":  func(ctx context.Context, s *Store) error { _, err := s.Signal(ctx); return err },
			"raise": func(ctx context.Context, s *Store) error { return s.update(ctx, (*tx).raiseSignal) },
		}},
		"totals": {totalsBucket, []byte(id), campaign.CodeDamaged, map[string]func(context.Context, *Store) error{
			"read": func(ctx context.Context, s *Store) error { _, err := s.Totals(ctx, id); return err },
		}},
		"due": {dueBucket, timeKey(time.Time{}, []byte("x")), campaign.CodeInternal, map[string]func(context.Context, *Store) error{
			"read": func(ctx context.Context, s *Store) error { _, err := s.DueLeases(ctx, time.Now(), 9); return err },
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openIn(t, t.TempDir())
			for _, value := range []string{"\x00", "\x01", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", strings.Repeat("\x01", 300), "{"} {
				corrupt(t, s, test.bucket, test.key, []byte(value))
				for call, run := range test.calls {
					err := run(t.Context(), s)
					if code := campaign.CodeOf(err); code != test.code || !strings.Contains(err.Error(), `"`+test.bucket+`"`) {
						t.Errorf("%s with value %q: %v", call, value, err)
					}
				}
			}
		})
	}
}

func TestDiskErrorSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for cause, words := range map[error]string{
		syscall.ENOSPC: "no space is left",
		syscall.EDQUOT: "no space is left",
		syscall.EIO:    "check its disk",
	} {
		err := diskError(errors.Join(cause), "postern.db")
		if campaign.CodeOf(err) != campaign.CodeUnavailable || !strings.Contains(err.Error(), words) || !errors.Is(err, cause) {
			t.Errorf("%v became %v", cause, err)
		}
	}
}

// FuzzDecode sees that no stored bytes make a decoder panic or take memory
// out of proportion.
func FuzzDecode(f *testing.F) {
	f.Add(encodeContact(campaign.Contact{Address: "a@b.c", Tags: []string{"t"}, Fields: map[string]string{"n": "v"}}))
	f.Add(encodeLease(leaseValue{Lease: store.Lease{
		Owner: "o", Reopen: store.Reopen{Next: 2, States: []campaign.DeliveryState{campaign.DeliveryFailed}, StatesFrom: 1},
		Progress: campaign.Progress{Deferred: make([]campaign.Deferred, 2), Intents: campaign.Bitmap{1}, Counted: campaign.Bitmap{2}},
	}}))
	f.Add(encodeDeliveries(rows(0, 3)))
	f.Add([]byte{codecVersion, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, value []byte) {
		if c, err := decodeContact(nil, value); err == nil && len(c.Fields)+len(c.Tags) > len(value) {
			t.Errorf("%d octets made %+v", len(value), c)
		}
		if l, err := decodeLease(store.LeaseKey{}, value); err == nil && len(l.Progress.Deferred)+len(l.Reopen.States) > len(value) {
			t.Errorf("%d octets made %+v", len(value), l)
		}
		into := map[int]campaign.Delivery{}
		if err := decodeDeliveries(value, into); err == nil && len(into) > len(value) {
			t.Errorf("%d octets made %d rows", len(value), len(into))
		}
		_, _, _ = countSent(nil, value, "id", time.Time{})
	})
}
