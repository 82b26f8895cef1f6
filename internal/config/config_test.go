package config

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func load(t *testing.T, vars map[string]string) Config {
	t.Helper()
	c, err := Load(env(vars))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	want := Config{
		ListenAddr: "127.0.0.1:8080", MetricsAddr: "127.0.0.1:9090",
		Store: StoreEmbedded, DataDir: "./data",
		SMTP:               SMTP{Port: 587, UseTLS: true},
		Relay:              Relay{Ports: []int{465, 587, 2525}, Choice: RelaysAny, MaxConnections: 10, MessagesPerConnection: 1000, Timeout: 10 * time.Minute},
		Retry:              Retry{Min: time.Minute, Max: time.Hour, For: 24 * time.Hour},
		CampaignTimeLimit:  72 * time.Hour,
		ScheduleGrace:      time.Hour,
		ShutdownTimeout:    25 * time.Second,
		Auth:               AuthNone,
		MaxRequestBytes:    40 << 20,
		MaxAttachmentBytes: 25 << 20,
		MaxInFlightBytes:   96 << 20,
		MaxLetterBytes:     128 << 20,
		LogLevel:           "info",
		MaxConnections:     2048,
		TLS:                TLS{Mode: TLSOff},
	}
	if got := load(t, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("defaults:\n%+v\nwant\n%+v", got, want)
	}
}

func TestEveryVariable(t *testing.T) {
	t.Parallel()
	key, older := strings.Repeat("k", KeyOctets), strings.Repeat("o", KeyOctets)
	keys := base64.StdEncoding.EncodeToString([]byte(key)) + ", " + base64.StdEncoding.EncodeToString([]byte(older)) + "\n"
	vars := map[string]string{
		"LISTEN_ADDR": "0.0.0.0:80", "METRICS_ADDR": "[::1]:9", "STORE": "dynamodb", "DATA_DIR": "/var/lib/postern",
		"TABLE_PREFIX": "dev-", "CREATE_TABLES": "TRUE", "DYNAMODB_ENDPOINT": "http://dynamo:8000", "AWS_REGION": "us-gov-west-1",
		"SMTP_SERVER": "mail.example.org", "SMTP_PORT": "25", "SMTP_USE_TLS": "false",
		"SMTP_USERNAME": "u", "SMTP_PASSWORD": " p ",
		"RELAY_ALLOW": "127.0.0.1/8, Mail.Internal,10.1.2.3, ::ffff:192.0.2.1, fd00::/8,", "RELAY_PORTS": "25, 465",
		"RELAYS": "listed", "RELAY_REQUIRE_TLS": "False",
		"RELAY_MAX_CONNECTIONS": "3", "RELAY_RATE": "0.5", "RELAY_TIMEOUT": "90s",
		"RELAY_DAILY_LIMIT": "10000", "RELAY_MESSAGES_PER_CONNECTION": "0", "CAMPAIGN_TIME_LIMIT": "0", "SCHEDULE_GRACE": "5m",
		"RETRY_MIN": "100ms", "RETRY_MAX": "2s", "RETRY_FOR": "1m", "SHUTDOWN_TIMEOUT": "5s",
		"VPC_ENABLED": "1", "AUTH": "vpce+token", "ENCRYPTION_KEY": keys,
		"VPC_ENDPOINT_IDS": "vpce-0123456789abcdef0,vpce-00000001", "API_TOKENS_FILE": "/etc/tokens",
		"LISTEN_TLS": "files", "TLS_CERT_FILE": "c.pem", "TLS_KEY_FILE": "k.pem", "MAX_CONNECTIONS": "9",
		"PROFILING": "true", "INTERNET_PROBE": "192.0.2.1:443", "LOG_ADDRESSES": "true", "DELIVERY_RETENTION": "720h", "EMF_NAMESPACE": "my-postern",
		"RECIPIENT_DOMAINS": "Example.org,.health.example", "SENDERS": "News@example.org,@Example.com",
		"MAX_RECIPIENTS": "5", "DAILY_RECIPIENTS": "6",
		"CORS_ORIGINS": "https://a.example.org, http://localhost:3000", "LOG_LEVEL": "debug",
		"MAX_REQUEST_BYTES": "2048", "MAX_ATTACHMENT_BYTES": "1024", "MAX_INFLIGHT_BYTES": "4096",
	}
	c := load(t, vars)
	for name, got := range map[string]any{
		"hosts":    c.Relay.Allow.Hosts,
		"password": c.SMTP.Password.Reveal(),
		"keys":     c.EncryptionKeys[0].Reveal() + c.EncryptionKeys[1].Reveal(),
		"tls":      c.TLS,
		"sending":  c.Sending,
		"callers":  append([]string{string(c.Auth), c.TokensFile}, c.VPCEndpointIDs...),
		"others":   []any{c.MaxConnections, c.Profiling, c.InternetProbe, c.LogAddresses, c.DeliveryRetention, c.EMFNamespace},
		"origins":  c.CORSOrigins,
		"ports":    c.Relay.Ports,
		"relays":   []any{c.Relay.Choice, c.Relay.RequireTLS},
		"retry":    c.Retry,
		"timeout":  c.Relay.Timeout,
		"caps":     [4]float64{float64(c.Relay.MaxConnections), c.Relay.Rate, float64(c.Relay.DailyLimit), float64(c.Relay.MessagesPerConnection)},
		"campaign": [2]time.Duration{c.CampaignTimeLimit, c.ScheduleGrace},
		"vpc":      c.VPCEnabled && c.CreateTables && !c.SMTP.UseTLS,
	} {
		want := map[string]any{
			"hosts":    []string{"mail.internal"},
			"password": " p ",
			"keys":     key + older,
			"tls":      TLS{Mode: TLSFiles, CertFile: "c.pem", KeyFile: "k.pem"},
			"sending": Sending{
				RecipientDomains: []string{"example.org", ".health.example"}, Senders: []string{"news@example.org", "@example.com"},
				MaxRecipients: 5, DailyRecipients: 6,
			},
			"callers":  []string{"vpce+token", "/etc/tokens", "vpce-0123456789abcdef0", "vpce-00000001"},
			"others":   []any{9, true, "192.0.2.1:443", true, 720 * time.Hour, "my-postern"},
			"origins":  []string{"https://a.example.org", "http://localhost:3000"},
			"ports":    []int{25, 465},
			"relays":   []any{RelaysListed, false},
			"retry":    Retry{Min: 100 * time.Millisecond, Max: 2 * time.Second, For: time.Minute},
			"vpc":      true,
			"timeout":  90 * time.Second,
			"caps":     [4]float64{3, 0.5, 10000, 0},
			"campaign": [2]time.Duration{0, 5 * time.Minute},
		}[name]
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	var networks []string
	for _, n := range c.Relay.Allow.Networks {
		networks = append(networks, n.String())
	}
	if want := []string{"127.0.0.0/8", "10.1.2.3/32", "192.0.2.1/32", "fd00::/8"}; !slices.Equal(networks, want) {
		t.Errorf("networks %v, want %v", networks, want)
	}
}

// TestFaults gives each variable a value that breaks its rule.
func TestFaults(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, value, rule string }{
		{"LISTEN_ADDR", "8080", "host:port"},
		{"LISTEN_ADDR", "a b:80", "host:port"},
		{"LISTEN_ADDR", "127.0.0.1:http", "host:port"},
		{"METRICS_ADDR", "127.0.0.1:99999", "host:port"},
		{"STORE", "mysql", "embedded dynamodb"},
		{"DATA_DIR", "a\x00b", "control"},
		{"TABLE_PREFIX", "a/b", "a-z"},
		{"CREATE_TABLES", "maybe", "true or false"},
		{"DYNAMODB_ENDPOINT", "dynamo:8000", "URL"},
		{"SMTP_SERVER", "smtp://mail", "host name"},
		{"SMTP_SERVER", "mail:25", "host name"},
		{"SMTP_PORT", "0", "1 to 65535"},
		{"SMTP_PORT", "+587", "1 to 65535"},
		{"SMTP_USE_TLS", "starttls", "true or false"},
		{"RELAY_ALLOW", "10.0.0.0/33", "CIDRs"},
		{"RELAYS", "own", "any listed default"},
		{"RELAY_REQUIRE_TLS", "always", "true or false"},
		{"RELAY_PORTS", ",", "one at least"},
		{"RELAY_PORTS", "465,smtp", "1 to 65535"},
		{"RELAY_CA_FILE", filepath.Join(t.TempDir(), "none.pem"), "can be read"},
		{"RELAY_MAX_CONNECTIONS", "0", "from 1 to 1000"},
		{"RELAY_RATE", "-1", "from 0 up"},
		{"RELAY_RATE", "NaN", "from 0 up"},
		{"RELAY_DAILY_LIMIT", "-1", "from 0 to 2147483647"},
		{"RELAY_MESSAGES_PER_CONNECTION", "many", "from 0 to 2147483647"},
		{"CAMPAIGN_TIME_LIMIT", "-1h", "0 or a duration"},
		{"CAMPAIGN_TIME_LIMIT", "3 days", "0 or a duration"},
		{"SCHEDULE_GRACE", "0", "must be a duration above 0"},
		{"RELAY_TIMEOUT", "0", "must be a duration above 0"},
		{"RETRY_MIN", "60", "duration"},
		{"RETRY_MAX", "-1h", "duration"},
		{"RETRY_FOR", "0s", "duration"},
		{"SHUTDOWN_TIMEOUT", "soon", "duration"},
		{"VPC_ENABLED", "vpce-1", "true or false"},
		{"AUTH", "basic", "none none-insecure"},
		{"VPC_ENDPOINT_IDS", "vpc-0123456789abcdef0", "vpce-0123"},
		{"VPC_ENDPOINT_IDS", "vpce-012345678 9abcdef0", "vpce-0123"},
		{"API_TOKENS_REF", "my-secret", "ARN"},
		{"ENCRYPTION_KEY_REF", "kms:", "base64"},
		{"SMTP_PASSWORD_REF", "arn:aws:ssm:us-east-1:1:parameter/p", "Secrets Manager"},
		{"LISTEN_TLS", "on", "off self-signed files"},
		{"MAX_CONNECTIONS", "0", "from 1"},
		{"PROFILING", "pprof", "true or false"},
		{"INTERNET_PROBE", "example.org", "host:port"},
		{"RECIPIENT_DOMAINS", "*.example.org", "example.org or .example.org"},
		{"RECIPIENT_DOMAINS", "bücher.example", "xn--"},
		{"RECIPIENT_DOMAINS", "a@example.org", "example.org or"},
		{"SENDERS", "example.org", "@example.org"},
		{"SENDERS", "a b@example.org", "@example.org"},
		{"MAX_RECIPIENTS", "-1", "from 0"},
		{"DAILY_RECIPIENTS", "many", "from 0"},
		{"DELIVERY_RETENTION", "30d", "0 or a duration"},
		{"LOG_ADDRESSES", "hashed", "true or false"},
		{"ENCRYPTION_KEY", "c2hvcnQ=", "32 octets"},
		{"CORS_ORIGINS", "https://a.example.org/", "without path"},
		{"CORS_ORIGINS", "https://*.example.org", "without path"},
		{"CORS_ORIGINS", "*,https://a.example.org", "* alone"},
		{"CORS_ORIGINS", "https://a.example.org,null", "sandboxed frames"},
		{"LOG_LEVEL", "loud", "trace debug info"},
		{"EMF_NAMESPACE", "my postern", "a-z"},
		{"EMF_NAMESPACE", "AWS/ECS", "not begin with AWS/"},
		{"MAX_REQUEST_BYTES", "10MB", "whole number"},
		{"MAX_ATTACHMENT_BYTES", "-1", "whole number"},
		{"MAX_INFLIGHT_BYTES", "1", "whole number"},
	}
	for _, tt := range tests {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			t.Parallel()
			fault := onlyFault(t, map[string]string{tt.name: tt.value})
			if fault.Name != tt.name || !strings.Contains(fault.Rule, tt.rule) {
				t.Errorf("fault %+v, want %s with %q", fault, tt.name, tt.rule)
			}
		})
	}
}

func TestChecksBetweenVariables(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:postern-AbCdEf"
	tests := []struct {
		fault string
		vars  map[string]string
	}{
		{"AUTH", map[string]string{"LISTEN_ADDR": ":8080"}},
		{"AUTH", map[string]string{"LISTEN_ADDR": "192.0.2.1:8080"}},
		{"METRICS_ADDR", map[string]string{"METRICS_ADDR": "127.0.0.1:8080"}},
		{"METRICS_ADDR", map[string]string{"METRICS_ADDR": ":8080"}},
		{"ENCRYPTION_KEY", map[string]string{"STORE": "dynamodb", "AWS_REGION": "us-gov-west-1"}},
		{"ENCRYPTION_KEY", map[string]string{
			"ENCRYPTION_KEY":     base64.StdEncoding.EncodeToString(make([]byte, KeyOctets)),
			"ENCRYPTION_KEY_REF": "kms:AAAA",
		}},
		{"AUTH", map[string]string{"AUTH": "vpce", "VPC_ENDPOINT_IDS": "vpce-01234567"}},
		{"VPC_ENDPOINT_IDS", map[string]string{"AUTH": "vpce", "VPC_ENABLED": "true"}},
		{"SMTP_USE_TLS", map[string]string{"SMTP_USE_TLS": "false", "RELAY_REQUIRE_TLS": "true"}},
		{"RELAYS", map[string]string{"RELAYS": "listed"}},
		{"RELAYS", map[string]string{"RELAYS": "default", "RELAY_ALLOW": "10.0.0.0/8"}},
		{"API_TOKENS_FILE", map[string]string{"AUTH": "token"}},
		{"API_TOKENS_FILE", map[string]string{"AUTH": "token", "API_TOKENS_FILE": "f", "API_TOKENS_REF": arn}},
		{"TLS_CERT_FILE", map[string]string{"LISTEN_TLS": "files", "TLS_CERT_FILE": "c"}},
		{"TLS_CERT_FILE", map[string]string{"LISTEN_TLS": "self-signed", "TLS_CERT_FILE": "c", "TLS_KEY_FILE": "k"}},
		{"TLS_NAMES", map[string]string{"TLS_NAMES": "postern.example"}},
		{"SMTP_USERNAME", map[string]string{"SMTP_USERNAME": "u", "SMTP_SERVER": "m", "SMTP_PASSWORD": "p", "SMTP_PASSWORD_REF": arn}},
		{"AWS_REGION", map[string]string{"STORE": "dynamodb", "ENCRYPTION_KEY": base64.StdEncoding.EncodeToString(make([]byte, KeyOctets))}},
		{"SMTP_USERNAME", map[string]string{"SMTP_SERVER": "mail", "SMTP_PASSWORD": "p"}},
		{"SMTP_USERNAME", map[string]string{"SMTP_SERVER": "mail", "SMTP_USERNAME": "u"}},
		{"SMTP_SERVER", map[string]string{"SMTP_USERNAME": "u", "SMTP_PASSWORD": "p"}},
		{"SMTP_PORT", map[string]string{"SMTP_SERVER": "mail", "SMTP_PORT": "25"}},
		{"RETRY_MIN", map[string]string{"RETRY_MIN": "2h"}},
		{"RETRY_FOR", map[string]string{"RETRY_FOR": "1s"}},
		{"MAX_INFLIGHT_BYTES", map[string]string{"MAX_INFLIGHT_BYTES": "2048"}},
	}
	for _, tt := range tests {
		if fault := onlyFault(t, tt.vars); fault.Name != tt.fault {
			t.Errorf("%v: fault %+v, want one of %s", tt.vars, fault, tt.fault)
		}
	}
}

func TestAllowedTogether(t *testing.T) {
	t.Parallel()
	for _, vars := range []map[string]string{
		{"LISTEN_ADDR": "localhost:8080"},
		{"LISTEN_ADDR": "[::1]:8080"},
		{"LISTEN_ADDR": "127.0.0.1:0", "METRICS_ADDR": "127.0.0.1:0"},
		{"LISTEN_ADDR": ":8080", "AUTH": "none-insecure"},
		{"LISTEN_ADDR": ":8080", "AUTH": "token", "API_TOKENS_FILE": "f", "LISTEN_TLS": "self-signed", "TLS_NAMES": "a.example, 10.0.0.1"},
		{"ENCRYPTION_KEY_REF": "kms:AAAA", "STORE": "dynamodb", "AWS_REGION": "r"},
		{"CORS_ORIGINS": "*"},
		{"VPC_ENABLED": "true"},
		{"LISTEN_ADDR": ":8080", "AUTH": "none-insecure", "VPC_ENABLED": "true"},
		{"AUTH": "token", "API_TOKENS_FILE": "f", "VPC_ENABLED": "true"},
		{"RELAYS": "listed", "RELAY_ALLOW": "10.0.0.0/8", "RELAY_REQUIRE_TLS": "true"},
		{"RELAYS": "listed", "SMTP_SERVER": "mail"},
		{"RELAYS": "default", "SMTP_SERVER": "mail", "SMTP_USE_TLS": "false"},
	} {
		if _, err := Load(env(vars)); err != nil {
			t.Errorf("%v: %v", vars, err)
		}
	}
}

func TestAllFaultsAtOnceAndNoSecret(t *testing.T) {
	t.Parallel()
	_, err := Load(env(map[string]string{
		"LISTEN_ADDR": "x", "AUTH": "x", "SMTP_PORT": "x", "SMTP_SERVER": "m", "RETRY_MIN": "2h",
		"SMTP_PASSWORD": "hunter2", "ENCRYPTION_KEY": "aHVudGVyMg==", "DYNAMODB_ENDPOINT": "http://u:hunter2@d",
	}))
	faults, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %T, want *Error", err)
	}
	var names []string
	for _, f := range faults.Faults {
		names = append(names, f.Name)
		if !strings.Contains(err.Error(), f.Name+" "+f.Rule) {
			t.Errorf("message lacks %+v", f)
		}
	}
	want := []string{"LISTEN_ADDR", "AUTH", "ENCRYPTION_KEY", "DYNAMODB_ENDPOINT", "SMTP_PORT", "SMTP_USERNAME", "RETRY_MIN"}
	if !slices.Equal(names, want) {
		t.Errorf("faults of %v, want %v", names, want)
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVudGVyMg") {
		t.Errorf("a secret is in %q", err)
	}
}

func TestRelayCAFile(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	path := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
	roots := load(t, map[string]string{"RELAY_CA_FILE": path}).Relay.Roots
	if roots == nil {
		t.Fatal("no roots")
	}
	with, without := roots.Clone(), roots
	with.AddCert(server.Certificate())
	if !with.Equal(without) {
		t.Error("the file's certificate is not among the roots")
	}
	if err := os.WriteFile(path, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if fault := onlyFault(t, map[string]string{"RELAY_CA_FILE": path}); fault.Name != "RELAY_CA_FILE" {
		t.Errorf("fault %+v", fault)
	}
}

// TestRelayCA: the same authorities as text, and none in part.
func TestRelayCA(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	raw := server.Certificate().Raw
	encoded := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte(encoded), 0o600); err != nil {
		t.Fatal(err)
	}
	want := load(t, map[string]string{"RELAY_CA_FILE": path}).Relay.Roots
	for _, text := range []string{encoded, "\n" + strings.TrimSpace(encoded), "# of the agency\n" + encoded + encoded, strings.ReplaceAll(encoded, "\n", "\r\n")} {
		if roots := load(t, map[string]string{"RELAY_CA": text}).Relay.Roots; !want.Equal(roots) {
			t.Errorf("%q is not the certificate of the file", text)
		}
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("hunter2")}))
	damaged := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw[:len(raw)-9]}))
	for name, vars := range map[string]map[string]string{
		"certificate in PEM at least": {"RELAY_CA": "/etc/ca.pem"},
		"1 can be read":               {"RELAY_CA": encoded + encoded[:len(encoded)-30]},
		"number 2 is damaged":         {"RELAY_CA": encoded + damaged},
		`has a "PRIVATE KEY"`:         {"RELAY_CA": encoded + key},
		"together with RELAY_CA_FILE": {"RELAY_CA": encoded, "RELAY_CA_FILE": path},
	} {
		fault := onlyFault(t, vars)
		if fault.Name != "RELAY_CA" || !strings.Contains(fault.Rule, name) || strings.Contains(fault.Rule, "aHVudGVyMg") || strings.Contains(fault.Rule, encoded[40:60]) {
			t.Errorf("fault %+v; want RELAY_CA and %q", fault, name)
		}
	}
}

func TestUsageNamesEveryVariable(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	Usage(&out)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(variables())+1 {
		t.Errorf("%d lines for %d variables", len(lines), len(variables()))
	}
	for i, v := range variables() {
		if !strings.HasPrefix(lines[i+1], v.name+" ") || !strings.Contains(lines[i+1], v.preset) ||
			v.unit == "" || !strings.HasSuffix(lines[i+1], v.meaning) {
			t.Errorf("line %q for %s", lines[i+1], v.name)
		}
	}
}

func onlyFault(t *testing.T, vars map[string]string) Fault {
	t.Helper()
	c, err := Load(env(vars))
	faults, ok := errors.AsType[*Error](err)
	if !ok || len(faults.Faults) != 1 {
		t.Fatalf("%v: error %v, want one fault", vars, err)
	}
	if !reflect.DeepEqual(c, Config{}) {
		t.Errorf("%v: a configuration beside the error", vars)
	}
	return faults.Faults[0]
}

// TestParseEncryptionKeys: as the variable has them, or the octets of one.
func TestParseEncryptionKeys(t *testing.T) {
	t.Parallel()
	a, b := strings.Repeat("a", KeyOctets), strings.Repeat("b", KeyOctets)
	encode := func(key string) string { return base64.StdEncoding.EncodeToString([]byte(key)) }
	for value, want := range map[string][]string{
		encode(a) + ",\n" + encode(b) + "\n": {a, b},
		a:                                    {a},
		a + "\n":                             nil,
		encode(a) + "," + a[:31]:             nil,
		"":                                   nil,
	} {
		keys, err := ParseEncryptionKeys(value)
		var got []string
		for _, key := range keys {
			got = append(got, key.Reveal())
		}
		if !slices.Equal(got, want) || (err == nil) != (want != nil) || err != nil && strings.Contains(err.Error(), a[:8]) {
			t.Errorf("%q: %q, %v; want %q", value, got, err, want)
		}
	}
}
