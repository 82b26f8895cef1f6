package config

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	const value = "hunter2"
	type exported struct{ Password Secret }
	type hidden struct {
		password Secret
		pointer  *Secret
	}
	secret := NewSecret(value)
	for _, v := range []any{
		secret, &secret, []Secret{secret}, map[string]Secret{"p": secret},
		exported{secret}, &exported{secret}, hidden{secret, &secret}, fmt.Errorf("refused: %v", secret),
		Config{SMTP: SMTP{Password: secret}},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %[1]v"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, value) || strings.Contains(out, fmt.Sprintf("%x", value)) {
				t.Errorf("%s of %T prints %s", verb, v, out)
			}
		}
		out, err := json.Marshal(v)
		if err != nil || bytes.Contains(out, []byte(value)) {
			t.Errorf("JSON of %T: %s, %v", v, out, err)
		}
	}
	if out, err := xml.Marshal(exported{secret}); err != nil || !bytes.Contains(out, []byte(redacted)) {
		t.Errorf("XML: %s, %v", out, err)
	}
	if out := fmt.Sprintf("%v %s %#v %d", secret, secret, secret, secret); out != strings.TrimSpace(strings.Repeat(redacted+" ", 4)) {
		t.Errorf("prints %q", out)
	}
	for _, handler := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var log bytes.Buffer
		slog.New(handler(&log)).Info("start", "password", secret, "config", exported{secret})
		if strings.Contains(log.String(), value) || !strings.Contains(log.String(), redacted) {
			t.Errorf("log line %s", log.String())
		}
	}
}

func TestSecretReveals(t *testing.T) {
	t.Parallel()
	if got := NewSecret("p").Reveal(); got != "p" {
		t.Errorf("reveals %q", got)
	}
	var none Secret
	if none.Reveal() != "" || !none.IsZero() || !NewSecret("").IsZero() || NewSecret("p").IsZero() {
		t.Error("IsZero and Reveal disagree")
	}
}
