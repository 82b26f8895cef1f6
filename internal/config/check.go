package config

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// check is a rule between variables. The fault is said of the first name.
type check struct {
	names []string
	rule  string
	holds func(Config) bool
}

// concerns says whether one of the check's variables is in the set.
func (k check) concerns(set map[string]bool) bool {
	return slices.ContainsFunc(k.names, func(name string) bool { return set[name] })
}

func checks() []check { return slices.Concat(listenerChecks(), storeChecks(), relayChecks()) }

func listenerChecks() []check {
	return []check{
		{
			names: []string{"AUTH", "LISTEN_ADDR"},
			rule: "none is allowed only where LISTEN_ADDR is a loopback address such as 127.0.0.1:8080; " +
				"none-insecure lets everybody who reaches the port send mail",
			holds: func(c Config) bool { return c.Auth != AuthNone || loopback(c.ListenAddr) },
		}, {
			names: []string{"METRICS_ADDR", "LISTEN_ADDR"},
			rule:  "must be another address than LISTEN_ADDR",
			holds: func(c Config) bool { return !overlap(c.ListenAddr, c.MetricsAddr) },
		}, {
			names: []string{"AUTH", "VPC_ENABLED"},
			rule:  "with vpce needs VPC_ENABLED=true: the header that names the endpoint is API Gateway's",
			holds: func(c Config) bool { return !c.Auth.Endpoints() || c.VPCEnabled },
		}, {
			names: []string{"VPC_ENDPOINT_IDS", "AUTH"},
			rule:  "is required where AUTH has vpce",
			holds: func(c Config) bool { return !c.Auth.Endpoints() || len(c.VPCEndpointIDs) > 0 },
		}, {
			names: []string{"API_TOKENS_FILE", "API_TOKENS_REF", "AUTH"},
			rule:  "or API_TOKENS_REF, one of the two, is required where AUTH has token",
			holds: func(c Config) bool { return !c.Auth.Tokens() || (c.TokensFile == "") != (c.TokensRef == "") },
		}, {
			names: []string{"TLS_CERT_FILE", "TLS_KEY_FILE", "LISTEN_TLS"},
			rule:  "and TLS_KEY_FILE are required with LISTEN_TLS=files, and go with nothing else",
			holds: func(c Config) bool {
				files := c.TLS.Mode == TLSFiles
				return (c.TLS.CertFile != "") == files && (c.TLS.KeyFile != "") == files
			},
		}, {
			names: []string{"TLS_NAMES", "LISTEN_TLS"},
			rule:  "goes with LISTEN_TLS=self-signed only",
			holds: func(c Config) bool { return len(c.TLS.Names) == 0 || c.TLS.Mode == TLSSelfSigned },
		},
	}
}

func storeChecks() []check {
	dynamo := func(c Config) bool { return c.Store == StoreDynamoDB }
	return []check{
		{
			names: []string{"ENCRYPTION_KEY", "ENCRYPTION_KEY_REF", "STORE"},
			rule:  "or ENCRYPTION_KEY_REF is required with STORE=dynamodb; make one with: openssl rand -base64 32",
			holds: func(c Config) bool {
				return !dynamo(c) || len(c.EncryptionKeys) > 0 || c.EncryptionKeyRef != ""
			},
		}, {
			names: []string{"ENCRYPTION_KEY", "ENCRYPTION_KEY_REF"},
			rule:  "must not be set together with ENCRYPTION_KEY_REF",
			holds: func(c Config) bool { return len(c.EncryptionKeys) == 0 || c.EncryptionKeyRef == "" },
		}, {
			names: []string{"AWS_REGION", "STORE"},
			rule:  "is required with STORE=dynamodb, such as us-gov-west-1",
			holds: func(c Config) bool { return !dynamo(c) || c.AWSRegion != "" },
		},
	}
}

func relayChecks() []check {
	return []check{
		{
			names: []string{"SMTP_USERNAME", "SMTP_PASSWORD", "SMTP_PASSWORD_REF"},
			rule:  "must be set together with one of SMTP_PASSWORD and SMTP_PASSWORD_REF, or none of them",
			holds: func(c Config) bool {
				inline, ref := !c.SMTP.Password.IsZero(), c.SMTP.PasswordRef != ""
				return (c.SMTP.Username != "") == (inline || ref) && (!inline || !ref)
			},
		}, {
			names: []string{"SMTP_SERVER", "SMTP_USERNAME"},
			rule:  "is required where SMTP_USERNAME is set",
			holds: func(c Config) bool { return c.SMTP.Username == "" || c.SMTP.Server != "" },
		}, {
			names: []string{"SMTP_PORT", "SMTP_SERVER", "RELAY_PORTS"},
			rule:  "must be one of RELAY_PORTS",
			holds: func(c Config) bool { return c.SMTP.Server == "" || slices.Contains(c.Relay.Ports, c.SMTP.Port) },
		}, {
			names: []string{"SMTP_USE_TLS", "RELAY_REQUIRE_TLS"},
			rule:  "must not be false with RELAY_REQUIRE_TLS=true",
			holds: func(c Config) bool { return c.SMTP.UseTLS || !c.Relay.RequireTLS },
		}, {
			names: []string{"RELAYS", "SMTP_SERVER", "RELAY_ALLOW"},
			rule:  "leaves no relay that could be used: default needs SMTP_SERVER, listed needs SMTP_SERVER or RELAY_ALLOW",
			holds: func(c Config) bool {
				listed := c.Relay.Choice == RelaysListed && len(c.Relay.Allow.Hosts)+len(c.Relay.Allow.Networks) > 0
				return c.Relay.Choice == RelaysAny || c.SMTP.Server != "" || listed
			},
		}, {
			names: []string{"RETRY_MIN", "RETRY_MAX"},
			rule:  "must be at most RETRY_MAX",
			holds: func(c Config) bool { return c.Retry.Min <= c.Retry.Max },
		}, {
			names: []string{"RETRY_FOR", "RETRY_MIN"},
			rule:  "must be at least RETRY_MIN",
			holds: func(c Config) bool { return c.Retry.For >= c.Retry.Min },
		}, {
			names: []string{"MAX_INFLIGHT_BYTES", "MAX_REQUEST_BYTES"},
			rule:  "must be at least MAX_REQUEST_BYTES",
			holds: func(c Config) bool { return c.MaxInFlightBytes >= c.MaxRequestBytes },
		},
	}
}

// MetricsLoopback says whether only this machine can reach the metrics.
func (c Config) MetricsLoopback() bool { return loopback(c.MetricsAddr) }

// loopback says whether only this machine can reach the address.
func loopback(addr string) bool {
	name, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(name)
	return strings.EqualFold(name, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// overlap says whether two addresses cannot both be listened on.
func overlap(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	same := strings.EqualFold(hostA, hostB) || wildcard(hostA) || wildcard(hostB)
	return same && portA == portB && portA != "0"
}

func wildcard(name string) bool {
	ip, err := netip.ParseAddr(name)
	return name == "" || err == nil && ip.IsUnspecified()
}
