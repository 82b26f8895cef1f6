package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"postern/internal/campaign"
	"postern/internal/seal"
)

func sealerOf(t *testing.T, keys ...byte) *seal.Sealer {
	t.Helper()
	var secrets [][]byte
	for _, key := range keys {
		secrets = append(secrets, bytes.Repeat([]byte{key}, seal.KeySize))
	}
	sealer, err := seal.New(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

// TestRequestsAreKeyed: what is stored of a request depends on the sealing key
// and the caller, and is found again behind a rotation.
func TestRequestsAreKeyed(t *testing.T) {
	t.Parallel()
	identify := func(actor, key string, ring ...byte) request {
		ctx := campaign.WithActor(t.Context(), campaign.Actor{Name: actor})
		r, err := (&Engine{sealer: sealerOf(t, ring...)}).identify(ctx, Submission{IdempotencyKey: key, RequestDigest: "digest"})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	one := identify("token:1", "key", 1)
	if again := identify("token:1", "key", 1); again.key != one.key || !slices.Equal(again.digests, one.digests) {
		t.Errorf("the same request is %+v and %+v", one, again)
	}
	if rotated := identify("token:1", "key", 2, 1); rotated.key != one.key || rotated.digests[0] == one.digests[0] || rotated.digests[1] != one.digests[0] {
		t.Errorf("the request is %+v, behind a rotation %+v", one, rotated)
	}
	for what, other := range map[string]request{
		"another caller's": identify("token:2", "key", 1), "of another key": identify("token:1", "ke", 1),
		"of a name that runs into the key": identify("token:1k", "ey", 1),
	} {
		if other.key == one.key || other.digests[0] == one.digests[0] {
			t.Errorf("%s: %+v and %+v", what, other, one)
		}
	}
	if none := identify("token:1", "", 1); none.key != "" || !slices.Equal(none.digests, []string{""}) {
		t.Errorf("a request without a key is stored as %+v", none)
	}
	const role = "iam:arn:aws-us-gov:sts::123456789012:assumed-role/mailer/"
	if a, b := identify(role+"a", "key", 1), identify(role+"b", "key", 1); a.key != b.key {
		t.Errorf("two sessions of a role are %q and %q", a.key, b.key)
	}
}

// TestRecordNamesNothing: a campaign's record has neither the head of the
// letter nor digests that confirm a guess.
func TestRecordNamesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	s := letter()
	s.Subject, s.ReplyTo.Address = "Board meeting", "chair@example.org"
	file := strings.Repeat("plan", 10)
	s.Attachments = []File{{Filename: "plan.txt", ContentType: "text/plain; name=draft.txt", Data: []byte(file)}}
	one, _, err := r.Submit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	s.Attachments[0].Data = []byte(file)
	two, _, err := r.Submit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	l := one.Campaign.Letter
	for plain, ref := range map[string]campaign.ContentRef{s.HTML: l.HTML, file: l.Attachments[0]} {
		if sum := sha256.Sum256([]byte(plain)); ref.Digest == hex.EncodeToString(sum[:]) {
			t.Errorf("the digest of %q has no key", plain)
		}
	}
	if other := two.Campaign.Letter; other.HTML == l.HTML || other.Attachments[0] == l.Attachments[0] {
		t.Error("two campaigns have the same digests")
	}
	for _, plain := range []string{s.Subject, s.ReplyTo.Address, "plan.txt", "draft.txt"} {
		if bytes.Contains(l.SealedHead, []byte(plain)) {
			t.Errorf("the record has %q", plain)
		}
	}
	content, err := r.loadText(t.Context(), one.Campaign)
	if err != nil || content.Subject != s.Subject || content.ReplyTo != s.ReplyTo ||
		len(content.Attachments) != 1 || content.Attachments[0].Filename != "plan.txt" || content.Attachments[0].ContentType != s.Attachments[0].ContentType {
		t.Errorf("the letter came back as %+v, %v", content, err)
	}
	elsewhere := one.Campaign
	elsewhere.ID = two.Campaign.ID
	if _, err := r.openHead(elsewhere); campaign.CodeOf(err) != campaign.CodeInternal {
		t.Errorf("the head opens for another campaign: %v", err)
	}
	fewer := one.Campaign
	fewer.Letter.Attachments = nil
	if _, err := r.openHead(fewer); campaign.CodeOf(err) != campaign.CodeInternal {
		t.Errorf("the head opens with files too many: %v", err)
	}
}
