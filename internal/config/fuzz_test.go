package config_test

import (
	"errors"
	"strings"
	"testing"

	"postern/internal/config"
)

// listVariables are the variables whose values are parsed and not only kept.
var listVariables = []string{
	"LISTEN_ADDR", "VPC_ENDPOINT_IDS", "CORS_ORIGINS", "ENCRYPTION_KEY", "ENCRYPTION_KEY_REF", "TABLE_PREFIX", "DYNAMODB_ENDPOINT",
	"SMTP_SERVER", "SMTP_PORT", "SMTP_PASSWORD", "SMTP_PASSWORD_REF", "RELAY_ALLOW", "RELAY_PORTS", "RELAY_RATE", "RETRY_MIN",
	"MAX_REQUEST_BYTES", "RECIPIENT_DOMAINS", "SENDERS", "DAILY_RECIPIENTS", "DELIVERY_RETENTION", "INTERNET_PROBE", "LOG_LEVEL",
}

// FuzzLoad gives one variable any value. A configuration is valid, or every
// fault names its variable, and no secret is echoed.
func FuzzLoad(f *testing.F) {
	for i := range listVariables {
		for _, value := range []string{
			"", "x", ",", "a,,b", "10.0.0.0/8,relay.test", "587,25", "example.org,.agency.test", "@example.org,a@b.test", "-1", "1e9", "99999999999999999999",
			"arn:aws:secretsmanager:us-gov-west-1:123456789012:secret:x#y", "kms:AA==", "https://a.test,*", "vpce-0123456789abcdef0", "[::1]:1", "1h", "\x00\xff", "*",
			"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=,MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
		} {
			f.Add(uint8(i), value)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, value string) {
		name := listVariables[int(which)%len(listVariables)]
		cfg, err := config.Load(func(asked string) string {
			if asked == name {
				return value
			}
			return ""
		})
		if err == nil {
			checkLists(t, cfg)
			return
		}
		faults, ok := errors.AsType[*config.Error](err)
		if !ok || len(faults.Faults) == 0 {
			t.Fatalf("%s=%q: %v", name, value, err)
		}
		secret := name == "ENCRYPTION_KEY" || name == "SMTP_PASSWORD"
		if trimmed := strings.TrimSpace(value); secret && len(trimmed) > 12 && strings.Contains(err.Error(), trimmed) {
			t.Errorf("%s=%q is echoed: %v", name, value, err)
		}
	})
}

func checkLists(t *testing.T, cfg config.Config) {
	t.Helper()
	for _, entry := range append(cfg.Sending.RecipientDomains, cfg.Sending.Senders...) {
		if entry != strings.ToLower(entry) || strings.ContainsAny(entry, " ,<>\r\n\x00") || entry == "" || entry == "." || entry == "@" {
			t.Errorf("%q is taken into a list", entry)
		}
	}
	for _, port := range cfg.Relay.Ports {
		if port < 1 || port > 65535 {
			t.Errorf("%d is taken for a port", port)
		}
	}
	if cfg.MaxRequestBytes <= 0 || cfg.MaxInFlightBytes < cfg.MaxRequestBytes || cfg.Sending.MaxRecipients < 0 || cfg.Sending.DailyRecipients < 0 {
		t.Errorf("limits %+v", cfg.Sending)
	}
}
