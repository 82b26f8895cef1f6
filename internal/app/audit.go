package app

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"postern/internal/config"
	"postern/internal/engine"
	"postern/internal/secret"
	"postern/internal/store"
)

// AuditStore reads audit trails from the store itself, without a service. It
// changes nothing.
type AuditStore struct{ auditor engine.Auditor }

// OpenAudit opens the store of cfg for reading. The embedded store must not be
// in use; DynamoDB's may be. The error says what to do.
func OpenAudit(ctx context.Context, cfg config.Config) (*AuditStore, error) {
	s, trials := tryStore(ctx, cfg)
	for _, t := range trials {
		switch t.Fault {
		case "":
		case store.FaultInUse:
			return nil, fmt.Errorf("%s: %s; verify through its API (-url), or stop it first", t.Name, t.Detail)
		default:
			return nil, fmt.Errorf("%s: %s", t.Name, t.Detail)
		}
	}
	if s == nil {
		return nil, errors.New("there is no store yet; is the configuration the one of the service?")
	}
	sealer, err := newSealer(ctx, cfg, secret.New(cfg.AWSRegion))
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &AuditStore{engine.Auditor{Store: s, Keys: sealer}}, nil
}

// Close lets go of the store.
func (a *AuditStore) Close() error { return a.auditor.Store.Close() }

// auditPage is how many campaigns are listed at once.
const auditPage = 100

// Campaigns calls each with the ids of all campaigns, page by page, newest
// first, but for those that are damaged, which come last of their page.
func (a *AuditStore) Campaigns(ctx context.Context, each func(id string) error) error {
	for cursor := ""; ; {
		page, err := a.auditor.Store.ListCampaigns(ctx, cursor, auditPage)
		if err != nil {
			return err
		}
		for _, c := range page.Campaigns {
			if err := each(c.ID); err != nil {
				return err
			}
		}
		for _, c := range page.Damaged { // whose export says so
			if err := each(c.ID); err != nil {
				return err
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

// Export writes a campaign's audit trail.
func (a *AuditStore) Export(ctx context.Context, campaignID string, w io.Writer) error {
	return a.auditor.Audit(ctx, campaignID, w)
}

// Keys gives the public keys that may have signed roots.
func (a *AuditStore) Keys(context.Context) ([]ed25519.PublicKey, error) {
	keys, err := a.auditor.AuditKeys()
	public := make([]ed25519.PublicKey, len(keys))
	for i, key := range keys {
		public[i] = key.Public
	}
	return public, err
}
