package app_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.etcd.io/bbolt"

	"postern/internal/app"
	"postern/internal/audit"
	"postern/internal/campaign"
	"postern/internal/client"
	"postern/internal/config"
	"postern/internal/mailer/smtptest"
	"postern/internal/store/bolt"
)

// auditKeys asks the service for the keys that sign.
func (s *service) auditKeys(t *testing.T) (keys []ed25519.PublicKey) {
	t.Helper()
	var answer struct {
		Keys []struct {
			Public string `json:"public_key"`
		} `json:"keys"`
	}
	if err := s.Call(t.Context(), http.MethodGet, "audit/key", nil, &answer); err != nil {
		t.Fatal(err)
	}
	for _, k := range answer.Keys {
		key, err := base64.StdEncoding.DecodeString(k.Public)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// audited checks a campaign's trail through the API, as soon as it has so many
// roots.
func (s *service) audited(t *testing.T, id string, roots int) audit.Report {
	t.Helper()
	keys := s.auditKeys(t)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); ; <-ticker.C {
		report, err := audit.Verify(bytes.NewReader(s.export(t, id)), keys)
		if err != nil {
			t.Fatal(err)
		}
		if report.Roots >= roots {
			if report.Broken > 0 {
				t.Errorf("the audit trail is broken: %q", report.Problems)
			}
			return report
		}
		if time.Now().After(deadline) {
			t.Fatalf("the audit trail has %d roots, want %d: %+v", report.Roots, roots, report)
		}
	}
}

func (s *service) export(t *testing.T, id string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Base+"/campaigns/"+id+"/audit", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET audit: %s, %v", resp.Status, err)
	}
	return body
}

// stored is what stands in a store, for a test to change behind its back.
type stored interface {
	// flip changes an octet of the one value that has the needle in it: of a
	// row, or of a link.
	flip(t *testing.T, rows bool, needle []byte)
	// removeLink takes a link of a chunk's chain away.
	removeLink(t *testing.T, campaignID string, chunk, link int)
}

// TestAudit takes a campaign with failures through a retry, makes the digests
// of its messages again from what the relay got, erases a person, and checks
// the trail: through the API, then in the stopped store, then with an octet of
// it changed at a time.
func TestAudit(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		cfg := relayConfig()
		cfg.Hook = smtptest.RefuseRecipient("r3@example.org")
		relay := startRelay(t, cfg)
		s := start(t, env, relayEnv(t, relay), quickRetries)
		s.importContacts(t, addresses(20))
		letter := simpleLetter()
		letter.Attachments = []client.Attachment{{Filename: "note.txt", Content: []byte("note"), ContentType: "text/plain"}}
		id := s.submit(t, letter)
		if final := s.follow(t, id, relay); final.Failed != 1 || final.Sent != 19 {
			t.Fatalf("%+v", final)
		}
		if first := s.audited(t, id, 1); first.Rows != 20 || first.Unsigned > 0 || first.Unchecked > 0 {
			t.Errorf("behind the end: %+v", first)
		}
		if _, err := s.Retry(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		s.follow(t, id, relay)
		if second := s.audited(t, id, 2); second.Rows != 20 || second.Unsigned > 0 {
			t.Errorf("behind the retry: %+v", second)
		}
		s.digestsAreTheMessages(t, id, relay)

		if err := s.Call(t.Context(), http.MethodDelete, "contacts/r7@example.org/data", nil, nil); err != nil {
			t.Fatal(err)
		}
		if erased := s.audited(t, id, 2); erased.Unchecked != 1 {
			t.Errorf("behind an erasure: %+v", erased)
		}
		if bytes.Contains(s.export(t, id), []byte("r7@")) {
			t.Error("the trail has the address of an erased person")
		}
		export, keys := s.export(t, id), s.auditKeys(t)
		created, err := campaign.DecodeEvent(parseExport(t, export).links[0][0])
		if err != nil || created.Actor.Name != "anonymous" || created.Actor.RequestID == "" {
			t.Errorf("the campaign was created by %+v, %v", created.Actor, err)
		}
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		if r := auditStopped(t, env, id, keys); r.Broken > 0 || r.Rows != 20 {
			t.Errorf("in the stopped store: %+v", r)
		}
		stranger, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		if r := auditStopped(t, env, id, []ed25519.PublicKey{stranger}); r.Broken == 0 || !strings.Contains(r.Problems[0].String(), "the root's signature") {
			t.Errorf("with the key of a stranger: %q", r.Problems)
		}
		tamper(t, env, id, keys, export)
	})
}

// digestsAreTheMessages makes the digest of each sent delivery again, from the
// message that the relay got.
func (s *service) digestsAreTheMessages(t *testing.T, id string, relay *smtptest.Server) {
	t.Helper()
	caught := map[string]string{}
	for _, m := range relay.Messages() {
		digest, err := audit.MessageDigest(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		caught[m.To[0]] = digest.String()
	}
	for address, d := range s.deliveries(t, id) {
		if d.State == "sent" && d.Digest != caught[address] {
			t.Errorf("%s: the digest is %s, the message's %s", address, d.Digest, caught[address])
		}
	}
}

// auditStopped checks a campaign's trail in the store of a stopped service.
func auditStopped(t *testing.T, env map[string]string, id string, keys []ed25519.PublicKey) audit.Report {
	t.Helper()
	a, err := app.OpenAudit(t.Context(), loadConfig(t, env))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	var export bytes.Buffer
	if err := a.Export(t.Context(), id, &export); err != nil {
		t.Fatal(err)
	}
	r, err := audit.Verify(&export, keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func loadConfig(t *testing.T, env map[string]string) config.Config {
	t.Helper()
	cfg, err := config.Load(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// tamper changes an octet at a time behind the store's back, and changes it
// back: each is found, and the first link concerned is named.
func tamper(t *testing.T, env map[string]string, id string, keys []ed25519.PublicKey, export []byte) {
	t.Helper()
	lines := parseExport(t, export)
	raw := storedOf(t, env)
	for _, c := range []struct {
		what   string
		rows   bool
		needle []byte
		want   string
	}{
		{"the digest in a row", true, lines.digest, "has another digest of the message than the record"},
		{"a chunk's link", false, lines.links[1][0], "chunk 1, link 1: the link was changed"},
		{"an event", false, lines.links[0][1], "the campaign's own chain, link 2: the link was changed"},
		{"a root", false, lines.links[0][3], "the campaign's own chain, link 4: the link was changed"},
	} {
		raw.flip(t, c.rows, c.needle)
		r := auditStopped(t, env, id, keys)
		if r.Broken == 0 || !strings.Contains(r.Problems[0].String(), c.want) {
			t.Errorf("%s was changed: found %q, want first %q", c.what, r.Problems, c.want)
		}
		flipped := bytes.Clone(c.needle)
		flipped[len(flipped)-1] ^= 1
		raw.flip(t, c.rows, flipped)
	}
	if r := auditStopped(t, env, id, keys); r.Broken > 0 {
		t.Fatalf("all was changed back: %q", r.Problems)
	}
	last := len(lines.links[1])
	raw.removeLink(t, id, 1, last)
	if r := auditStopped(t, env, id, keys); r.Broken == 0 || !strings.Contains(r.Problems[0].String(), "the link is missing: the chain has") {
		t.Errorf("the last link was taken off: %q", r.Problems)
	}
	raw.removeLink(t, id, 0, 1)
	if r := auditStopped(t, env, id, keys); r.Broken == 0 || !strings.HasPrefix(r.Problems[0].String(), "the campaign's own chain, link 1: the link is missing") {
		t.Errorf("the first event was taken out: %q", r.Problems)
	}
}

// exportLines are parts of an export: payloads of links by chain, and the
// digest of a message.
type exportLines struct {
	links  map[int][][]byte
	digest []byte
}

func parseExport(t *testing.T, export []byte) (x exportLines) {
	t.Helper()
	x.links = map[int][][]byte{}
	for line := range bytes.Lines(export) {
		l, err := audit.ParseLine(line)
		if err != nil {
			t.Fatal(err)
		}
		if l.Link != nil {
			x.links[l.Link.Chunk] = append(x.links[l.Link.Chunk], l.Link.Payload)
		}
		if l.Row != nil && l.Row.Digest != "" && l.Row.Email != "" {
			if x.digest, err = hex.DecodeString(l.Row.Digest); err != nil {
				t.Fatal(err)
			}
		}
	}
	return x
}

func storedOf(t *testing.T, env map[string]string) stored {
	t.Helper()
	if env["STORE"] == "embedded" {
		return storedFile(filepath.Join(env["DATA_DIR"], bolt.FileName))
	}
	return storedTables{
		prefix: env["TABLE_PREFIX"],
		db: dynamodb.New(dynamodb.Options{
			BaseEndpoint: aws.String(env["DYNAMODB_ENDPOINT"]), Region: env["AWS_REGION"],
			Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
		}),
	}
}

// storedFile is the embedded store's file.
type storedFile string

func (f storedFile) update(t *testing.T, change func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(string(f), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(change); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func (f storedFile) flip(t *testing.T, rows bool, needle []byte) {
	t.Helper()
	bucket := map[bool]string{true: "deliveries", false: "audit"}[rows]
	f.update(t, func(tx *bbolt.Tx) error {
		var key, changed []byte
		err := tx.Bucket([]byte(bucket)).ForEach(func(k, v []byte) error {
			if at := bytes.Index(v, needle); at >= 0 {
				key, changed = bytes.Clone(k), bytes.Clone(v)
				changed[at+len(needle)-1] ^= 1
			}
			return nil
		})
		if err != nil || key == nil {
			t.Fatalf("nothing to change was found, %v", err)
		}
		return tx.Bucket([]byte(bucket)).Put(key, changed)
	})
}

func (f storedFile) removeLink(t *testing.T, campaignID string, chunk, link int) {
	t.Helper()
	f.update(t, func(tx *bbolt.Tx) error {
		key := slices.Concat([]byte(campaignID), []byte{0, 0, 0, byte(chunk)}, []byte{0, 0, 0, 0, 0, 0, 0, byte(link)})
		if tx.Bucket([]byte("audit")).Get(key) == nil {
			t.Fatalf("there is no link %d of chunk %d", link, chunk)
		}
		return tx.Bucket([]byte("audit")).Delete(key)
	})
}

// storedTables are the tables of DynamoDB.
type storedTables struct {
	prefix string
	db     *dynamodb.Client
}

func (s storedTables) scan(t *testing.T, table string) []map[string]types.AttributeValue {
	t.Helper()
	out, err := s.db.Scan(context.WithoutCancel(t.Context()), &dynamodb.ScanInput{TableName: aws.String(s.prefix + table)})
	if err != nil {
		t.Fatal(err)
	}
	return out.Items
}

func (s storedTables) flip(t *testing.T, rows bool, needle []byte) {
	t.Helper()
	table, attribute := "EmailWork", "p"
	if rows {
		table, attribute = "EmailDeliveries", "h"
	}
	for _, item := range s.scan(t, table) {
		value, is := item[attribute].(*types.AttributeValueMemberB)
		if !is || !bytes.Contains(value.Value, needle) {
			continue
		}
		changed := bytes.Clone(value.Value)
		changed[bytes.Index(changed, needle)+len(needle)-1] ^= 1
		item = maps.Clone(item)
		item[attribute] = &types.AttributeValueMemberB{Value: changed}
		if _, err := s.db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(s.prefix + table), Item: item}); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("nothing to change was found")
}

func (s storedTables) removeLink(t *testing.T, campaignID string, chunk, link int) {
	t.Helper()
	pk := "c#" + campaignID + "#" + string(rune('0'+chunk))
	for _, item := range s.scan(t, "EmailWork") {
		p, _ := item["pk"].(*types.AttributeValueMemberS)
		sk, _ := item["sk"].(*types.AttributeValueMemberS)
		if p.Value != pk || sk.Value != fmt.Sprintf("link#%012d", link) {
			continue
		}
		key := map[string]types.AttributeValue{"pk": p, "sk": sk}
		if _, err := s.db.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: aws.String(s.prefix + "EmailWork"), Key: key}); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("there is no link %d of chunk %d", link, chunk)
}

// TestAuditOfARunningStore: a store that is in use is not waited for.
func TestAuditOfARunningStore(t *testing.T) {
	t.Parallel()
	env := embedded(t)
	relay := startRelay(t, relayConfig())
	if _, err := app.OpenAudit(t.Context(), loadConfig(t, env)); err == nil || !strings.Contains(err.Error(), "there is no store yet") {
		t.Errorf("without a store: %v", err)
	}
	start(t, env, relayEnv(t, relay))
	began := time.Now()
	_, err := app.OpenAudit(t.Context(), loadConfig(t, env))
	if err == nil || !strings.Contains(err.Error(), "verify through its API") {
		t.Errorf("beside a service: %v", err)
	}
	if took := time.Since(began); took > patience {
		t.Errorf("it took %s to say so", took)
	}
}
