package campaign_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"postern/internal/campaign"
)

// deliveries draws rows of a checkpoint, pending ones among them.
func deliveries() *rapid.Generator[campaign.Delivery] {
	return rapid.Custom(func(t *rapid.T) campaign.Delivery {
		d := campaign.Delivery{
			Index:     rapid.IntRange(0, 1000).Draw(t, "index"),
			Address:   rapid.SampledFrom([]string{"", "ada@example.org", "x@example.org"}).Draw(t, "address"),
			State:     rapid.SampledFrom(campaign.DeliveryStates).Draw(t, "state"),
			Attempts:  rapid.IntRange(0, 50).Draw(t, "attempts"),
			UpdatedAt: time.UnixMilli(rapid.Int64Range(-1<<40, 1<<42).Draw(t, "at")).UTC(),
			Reply:     rapid.OneOf(rapid.Just("250 2.0.0 Ok: queued as 4ZxY"), rapid.Just("250 2.0.0 Ok: queued as 5AbC"), rapid.String()).Draw(t, "reply"),
		}
		copy(d.Person.Key[:], rapid.SampledFrom([]string{"\x00\x00\x00\x00", "key1", "key2"}).Draw(t, "key"))
		copy(d.Person.Digest[:], rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "person"))
		if d.Person.Digest == ([16]byte{}) {
			d.Person = campaign.Person{}
		}
		d.Digest = rapid.SampledFrom([][]byte{{}, bytes.Repeat([]byte{7}, sha256.Size)}).Draw(t, "digest")
		return d
	})
}

// TestRecordResults: what is terminal comes back as it went in.
func TestRecordResults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(deliveries(), 0, 40).Draw(t, "rows")
		var want []campaign.Result
		for _, d := range rows {
			if d.State != campaign.DeliveryPending {
				want = append(want, campaign.ResultOf(d))
			}
		}
		payload := campaign.EncodeResults(rows)
		if len(want) == 0 {
			if payload != nil {
				t.Fatalf("nothing is terminal, and the record is %x", payload)
			}
			return
		}
		got, err := campaign.DecodeRecord(payload)
		if err != nil || !reflect.DeepEqual(got.Results, want) || got.Reopened != nil {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
		}
	})
}

func TestRecordReopened(t *testing.T) {
	t.Parallel()
	if campaign.EncodeReopened(nil) != nil {
		t.Error("a record of nobody")
	}
	want := []int{0, 3, 499, math.MaxInt32}
	got, err := campaign.DecodeRecord(campaign.EncodeReopened(want))
	if err != nil || !reflect.DeepEqual(got, campaign.Record{Reopened: want}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestRecordStays: records are read years after they were written, by programs
// that are not ours, so their octets stay as they are documented.
func TestRecordStays(t *testing.T) {
	t.Parallel()
	person := campaign.Person{Key: campaign.KeyID{0xa, 0xb, 0xc, 0xd}, Digest: [16]byte(bytes.Repeat([]byte{0x11}, 16))}
	payload := campaign.EncodeResults([]campaign.Delivery{
		{
			Index: 3, State: campaign.DeliverySent, Attempts: 1, UpdatedAt: time.UnixMilli(1000), Person: person,
			Digest: bytes.Repeat([]byte{0x22}, 4), Reply: "we ok 1",
		},
		{Index: 300, State: campaign.DeliveryFailed, Attempts: 2, UpdatedAt: time.UnixMilli(999), Person: person, Reply: "we no"},
		{Index: 4, State: campaign.DeliverySuppressed, UpdatedAt: time.UnixMilli(999)},
	})
	want := "0101" + "03" +
		"03" + "01" + "01" + "d00f" + "02" + "0a0b0c0d" + strings.Repeat("11", 16) + "04" + "22222222" + "00" + "07" + hex.EncodeToString([]byte("we ok 1")) +
		"ac02" + "02" + "02" + "01" + "01" + strings.Repeat("11", 16) + "00" + "03" + "02" + hex.EncodeToString([]byte("no")) +
		"04" + "04" + "00" + "00" + "00" + "00" + "00" + "00"
	if got := hex.EncodeToString(payload); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := hex.EncodeToString(campaign.EncodeReopened([]int{1, 200})), "01020201c801"; got != want {
		t.Errorf("reopened: got %s, want %s", got, want)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(campaign.EncodeReopened([]int{1, 2, 3}))
	f.Add(campaign.EncodeResults([]campaign.Delivery{{Index: 1, State: campaign.DeliverySent, Reply: "250 ok", Digest: make([]byte, 32)}}))
	f.Add([]byte{1, 1, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := campaign.DecodeRecord(payload)
		if err != nil {
			return
		}
		if (len(r.Results) > 0) == (len(r.Reopened) > 0) || len(r.Results)+len(r.Reopened) > len(payload) {
			t.Errorf("%d octets gave %d results and %d reopened", len(payload), len(r.Results), len(r.Reopened))
		}
	})
}

func TestAuditReply(t *testing.T) {
	t.Parallel()
	long := "queued as " + strings.Repeat("é", 60)
	for _, c := range []struct{ reply, address, want string }{
		{"250 2.0.0 Ok: queued as 4ZxY", "ada@example.org", "250 2.0.0"},
		{"250 ok", "", "250"},
		{"250 ", "", "250"},
		{"250", "", "250"},
		{"rcpt: 550 5.1.1 no Ada Lovelace here", "ada@example.org", "rcpt: 550 5.1.1"},
		{"dot: 451 4.7.100 later, Ada (given up)", "ada@example.org", "dot: 451 4.7.100"},
		{"rcpt: 550 5.1.1234 Ada", "", "rcpt: 550"},
		{"rcpt: 550 5.1.1.1 Ada", "", "rcpt: 550"},
		{"rcpt: 550 5.1", "", "rcpt: 550"},
		{"rcpt: 550  5.1.1", "", "rcpt: 550"},
		{"2500 octets", "", "2500 octets"},
		{"rcpt: time-out", "", "rcpt: time-out"},
		{"no <Ada@Example.org>: here", "ada@example.org", "no (address) here"},
		{"no mailbox ada.lovelace here", "Ada.Lovelace@example.org", "no mailbox (address) here"},
		{"no mailbox 'jo' here, go on", "jo@example.org", "no mailbox (address) here, go on"},
		{"bounce+ada=example.org rejected", "ada@example.org", "(address) rejected"},
		{"see admin@relay.example", "", "see (address)"},
		{"  a\tb\r\nc ", "", "a b c"},
		{"two  spaces", "", "two spaces"},
		{"one behind ", "", "one behind"},
		{"ADA is gone", "ada@example.org", "(address) is gone"},
		{"jojo is gone", "jo@example.org", "jojo is gone"},
		{"ok", "K@example.org", "ok"}, // the Kelvin sign, of which k is the lower case
		{"bad \xff octet", "", "bad ? octet"},
	} {
		if got := campaign.AuditReply(c.reply, c.address); got != c.want {
			t.Errorf("%q to %s: got %q, want %q", c.reply, c.address, got, c.want)
		}
	}
	if got := campaign.AuditReply(long, ""); len(got) > campaign.MaxAuditReplyOctets || !utf8.ValidString(got) {
		t.Errorf("%d octets: %q", len(got), got)
	}
}

// TestAuditReplyTwoWays: what is taken as it is comes out of the long way as
// well, into which a space in front leads.
func TestAuditReplyTwoWays(t *testing.T) {
	t.Parallel()
	words := rapid.StringOf(rapid.SampledFrom([]rune("aAbB. @<>é\t")))
	rapid.Check(t, func(t *rapid.T) {
		reply, address := words.Draw(t, "reply"), words.Draw(t, "local")+"@example.org"
		if got, want := campaign.AuditReply(reply, address), campaign.AuditReply(" "+reply, address); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}
