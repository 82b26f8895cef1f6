package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"postern/internal/app"
	"postern/internal/audit"
	"postern/internal/config"
)

const auditUsage = `Usage:
  server audit verify [flags]   check audit trails; exit 1 where one is broken or
                                cannot be read, 3 where one is unbroken and not
                                all of it signed
  server audit message FILE     print the digest of a message, by which the
                                audit trail knows it; - for standard input
`

// auditTrail checks what was sent, and by whom.
func auditTrail(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	var err error
	switch command {
	case "verify":
		err = verify(args[1:], getenv, stdout, stderr)
	case "message":
		err = messageDigest(args[1:], stdout)
	case "-h", "-help", "--help", "help":
		_, _ = fmt.Fprint(stdout, auditUsage)
		return exitOK
	default:
		_, _ = fmt.Fprint(stderr, auditUsage)
		return exitUsage
	}
	switch usage := usageError(""); {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &usage):
		_, _ = fmt.Fprintln(stderr, "server audit:", err)
		return exitUsage
	}
	_, _ = fmt.Fprintln(stderr, "server audit:", err)
	if errors.Is(err, errUnsigned) {
		return exitUnsigned
	}
	return exitFailed
}

// usageError is about how a command was called.
type usageError string

func (e usageError) Error() string { return string(e) }

// errBroken: a trail is not as it should be, and what is wrong was printed.
var errBroken = errors.New("an audit trail is broken")

// errUnread: of a trail nothing can be said.
var errUnread = errors.New("an audit trail could not be read")

// errUnsigned: nothing is wrong with the trails, as far as can be told.
var errUnsigned = errors.New("an audit trail is not all under a signed root: " +
	"the service signs within seconds of a campaign's end or stop, so verify again; where that does not help, the root was removed")

// verification is what the flags of `server audit verify` ask for.
type verification struct {
	campaign  string // "" for all
	url       string // "" for the store of the configuration
	tokenFile string
	keys      publicKeys
}

// publicKeys are flags with a key each.
type publicKeys []ed25519.PublicKey

// String implements flag.Value.
func (k *publicKeys) String() string { return "" }

// Set implements flag.Value.
func (k *publicKeys) Set(text string) error {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("must be base64 of %d octets, as GET /audit/key has it", ed25519.PublicKeySize)
	}
	*k = append(*k, key)
	return nil
}

func parseVerification(args []string, stderr io.Writer) (v verification, err error) {
	flags := flag.NewFlagSet("server audit verify", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&v.campaign, "campaign", "", "the `id` of a campaign; all of them without it")
	flags.StringVar(&v.url, "url", "", "the `URL` of the service's API; without it the store of the configuration is read, which must be stopped where it is the embedded one")
	flags.StringVar(&v.tokenFile, "token-file", "", "a `file` with the token for the API, of the scope campaigns:read")
	flags.Var(&v.keys, "key", "a public `key` that may have signed, in base64; may be given more than once; without it the service, or the store's configuration, is asked for its keys")
	switch err = flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		err = usageError(err.Error())
	case flags.NArg() > 0:
		err = usageError(fmt.Sprintf("there is nothing to do with %q", flags.Arg(0)))
	case v.tokenFile != "" && v.url == "":
		err = usageError("-token-file needs -url")
	}
	return v, err
}

// trails is where audit trails come from.
type trails interface {
	Campaigns(ctx context.Context, each func(id string) error) error
	Export(ctx context.Context, campaignID string, w io.Writer) error
	Keys(ctx context.Context) ([]ed25519.PublicKey, error)
	Close() error
}

func verify(args []string, getenv func(string) string, stdout, stderr io.Writer) (err error) {
	v, err := parseVerification(args, stderr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	source, err := v.source(ctx, getenv)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if len(v.keys) == 0 {
		if v.keys, err = source.Keys(ctx); err != nil {
			return err
		}
	}
	return v.verify(ctx, source, stdout)
}

// verify checks the trails that are asked for. Of all of them, one that cannot
// be had does not keep the others from being checked.
func (v verification) verify(ctx context.Context, source trails, stdout io.Writer) (err error) {
	broken, unsigned, unread := false, false, false
	check := func(id string) error {
		report, err := verifyOne(ctx, source, id, v.keys)
		if err != nil {
			return fmt.Errorf("campaign %s: %w", id, err)
		}
		broken, unsigned = broken || report.Broken > 0, unsigned || !report.Proven()
		return printReport(stdout, report)
	}
	if v.campaign != "" {
		err = check(v.campaign)
	} else {
		err = source.Campaigns(ctx, func(id string) error {
			err := check(id)
			if err == nil || ctx.Err() != nil {
				return err
			}
			unread = true
			_, err = fmt.Fprintf(stdout, "%v\n  NOT CHECKED\n", err)
			return err
		})
	}
	switch {
	case err != nil:
		return err
	case broken:
		return errBroken
	case unread:
		return errUnread
	case unsigned:
		return errUnsigned
	}
	return nil
}

func (v verification) source(ctx context.Context, getenv func(string) string) (trails, error) {
	if v.url != "" {
		return newRemoteTrails(v.url, v.tokenFile)
	}
	cfg, err := config.Load(getenv)
	if err != nil {
		return nil, usageError(err.Error())
	}
	source, err := app.OpenAudit(ctx, cfg)
	if err != nil {
		return nil, err // not source: a nil *app.AuditStore in the interface is not nil
	}
	return source, nil
}

// verifyOne checks a trail while it comes.
func verifyOne(ctx context.Context, source trails, id string, keys []ed25519.PublicKey) (audit.Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	exported := make(chan struct{})
	go func() {
		defer close(exported)
		_ = w.CloseWithError(source.Export(ctx, id, w)) // it never fails; who reads has the export's error
	}()
	report, err := audit.Verify(r, keys)
	_ = r.CloseWithError(err) // ends the export, if it is under way
	<-exported
	return report, err
}

func printReport(w io.Writer, r audit.Report) error {
	var out strings.Builder
	verdict := "unbroken"
	if r.Broken > 0 {
		verdict = fmt.Sprintf("BROKEN in %d places", r.Broken)
	} else if !r.Proven() {
		verdict = "unbroken, and NOT ALL SIGNED"
	}
	fmt.Fprintf(&out, "campaign %s (%s): %s\n", r.CampaignID, r.Status, verdict)
	fmt.Fprintf(&out, "  checked: %d events, %d chunks with %d links, %d deliveries, %d signed roots\n", r.Events, r.Chunks, r.Links, r.Rows, r.Roots)
	if r.Roots > 0 {
		fmt.Fprintf(&out, "  last root: link %d, hash %s\n", r.Root.Number, r.Root.Hash)
	}
	for _, n := range []struct {
		count int64
		text  string
	}{
		{r.Unsigned, "links are not under a signed root yet"},
		{r.UnsignedEvents, "events are not under a signed root yet"},
		{int64(r.Unchecked), "deliveries have an address that could not be compared: the person is erased, or the key is not at hand"},
		{int64(r.AtWork), "chunks were being written to, so that their deliveries were left out"},
	} {
		if n.count > 0 {
			fmt.Fprintf(&out, "  note: %d %s\n", n.count, n.text)
		}
	}
	for i, p := range r.Problems {
		lead := "  then:  "
		if i == 0 {
			lead = "  first: "
		}
		fmt.Fprintf(&out, "%s%s\n", lead, p)
	}
	if more := r.Broken - len(r.Problems); more > 0 {
		fmt.Fprintf(&out, "  and %d more\n", more)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// maxMessage bounds a message to be digested, in octets.
const maxMessage = 256 << 20

// messageDigest prints the digest of a message in a file. A message that a
// relay has handed on has header fields in front that Postern did not send, so
// the digest without them is printed, too; so is the digest without an empty line
// at the end, which smtp-sink and mailboxes in the format mbox add. A file whose
// lines end in LF alone was written by a program that changed them, and is
// changed back.
func messageDigest(args []string, stdout io.Writer) error {
	if len(args) != 1 {
		return usageError("name one file, or - for standard input")
	}
	raw, err := readMessage(args[0])
	if err != nil {
		return err
	}
	if !bytes.Contains(raw, []byte("\r\n")) {
		raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
	}
	for _, r := range readings(raw) {
		digest, err := audit.MessageDigest(r.message)
		if err != nil {
			return err
		}
		if _, err = fmt.Fprintf(stdout, "%s%s\n", digest, r.note); err != nil {
			return err
		}
	}
	return nil
}

// reading is what of a file may be the message that Postern sent.
type reading struct {
	message []byte
	note    string // what was left out
}

// readings gives the file as it is, and then what may be the message in it.
func readings(raw []byte) []reading {
	all := []reading{{raw, ""}}
	sent := audit.WithoutTrace(raw)
	if cut := len(raw) - len(sent); cut > 0 {
		all = append(all, reading{sent, fmt.Sprintf(" without the first %d octets, which are header fields in front of Date", cut)})
	}
	for _, r := range all { // as it is by now
		if shorter, cut := withoutLastLine(r.message); cut {
			note := " without the empty line at its end"
			if r.note != "" {
				note = r.note + ", and" + note
			}
			all = append(all, reading{shorter, note})
		}
	}
	return all
}

// withoutLastLine takes an empty line off a message's end. The one that ends the
// header stays.
func withoutLastLine(raw []byte) (shorter []byte, cut bool) {
	for _, end := range []string{"\r\n", "\n"} {
		shorter, cut = bytes.CutSuffix(raw, []byte(end))
		if cut && bytes.HasSuffix(shorter, []byte("\r\n")) {
			return shorter, bytes.Contains(shorter, []byte("\r\n\r\n"))
		}
	}
	return raw, false
}

func readMessage(name string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name) //nolint:gosec // G304: the operator names the file
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxMessage+1))
	if err == nil && len(raw) > maxMessage {
		err = fmt.Errorf("%s has more than %d octets", name, maxMessage)
	}
	return raw, err
}
