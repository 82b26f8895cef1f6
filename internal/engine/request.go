package engine

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"postern/internal/campaign"
)

// requestPurpose is what the key is for by which requests are recognised.
const requestPurpose = "postern requests 1"

// request is a submission as it is recognised when it comes again.
type request struct {
	// key is the Idempotency-Key behind the caller's name, for callers do not
	// know each other's keys; "" for none.
	key string
	// digests are keyed, for the request may hold a password that is easy to
	// guess: HMAC-SHA-256 under a key of each sealing key, the one in use first.
	// There is always one, which is "" where there is no Idempotency-Key.
	digests []string
}

// identify gives how a submission of the context's actor is recognised.
func (e *Engine) identify(ctx context.Context, s Submission) (request, error) {
	if s.IdempotencyKey == "" {
		return request{digests: []string{""}}, nil
	}
	r := request{key: campaign.ActorOf(ctx).Party() + "\n" + s.IdempotencyKey}
	for _, id := range e.sealer.KeyIDs() {
		key, err := e.sealer.DeriveFor(id, requestPurpose)
		if err != nil {
			return request{}, fmt.Errorf("derive the key of requests: %w", err)
		}
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s\n%s", r.key, s.RequestDigest)
		r.digests = append(r.digests, hex.EncodeToString(mac.Sum(nil)))
	}
	return r, nil
}
