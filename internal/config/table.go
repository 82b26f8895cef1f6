package config

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// variable is a row of the table: an environment variable.
type variable struct {
	name    string
	preset  string // the default; "" for none
	unit    string
	meaning string
	// verbatim: white space around the value belongs to it.
	verbatim bool
	set      func(c *Config, value string) error
}

// read gives the variable's value, or its default where it is unset.
func (v variable) read(getenv func(string) string) string {
	value := getenv(v.name)
	trimmed := strings.TrimSpace(value)
	switch {
	case trimmed == "":
		return v.preset
	case v.verbatim:
		return value
	default:
		return trimmed
	}
}

// variables is the table.
func variables() []variable {
	var all []variable
	for _, part := range [][]variable{listeners(), callers(), stores(), defaultRelay(), relays(), sending(), limits(), logs()} {
		all = append(all, part...)
	}
	return all
}

func listeners() []variable {
	return []variable{
		{
			name: "LISTEN_ADDR", preset: "127.0.0.1:8080", unit: "host:port",
			meaning: "where the API listens",
			set:     into(address, func(c *Config) *string { return &c.ListenAddr }),
		}, {
			name: "METRICS_ADDR", preset: "127.0.0.1:9090", unit: "host:port",
			meaning: "where /metrics listens",
			set:     into(address, func(c *Config) *string { return &c.MetricsAddr }),
		}, {
			name: "LISTEN_TLS", preset: string(TLSOff), unit: "off | self-signed | files",
			meaning: "TLS of the API: none, with a certificate made at start, or with TLS_CERT_FILE and TLS_KEY_FILE",
			set:     into(oneOf(TLSOff, TLSSelfSigned, TLSFiles), func(c *Config) *TLSMode { return &c.TLS.Mode }),
		}, {
			name: "TLS_CERT_FILE", unit: "PEM file",
			meaning: "the listener's certificate and its chain; read again when it changes",
			set:     into(text, func(c *Config) *string { return &c.TLS.CertFile }),
		}, {
			name: "TLS_KEY_FILE", unit: "PEM file",
			meaning: "the certificate's key; read again when it changes",
			set:     into(text, func(c *Config) *string { return &c.TLS.KeyFile }),
		}, {
			name: "TLS_NAMES", unit: "hosts, by commas",
			meaning: "in the self-signed certificate besides the machine's own, such as the load balancer's",
			set:     into(list(host), func(c *Config) *[]string { return &c.TLS.Names }),
		}, {
			name: "MAX_CONNECTIONS", preset: "2048", unit: "connections",
			meaning: "to the API, open at most; further ones wait",
			set:     into(whole(1, 1<<20), func(c *Config) *int { return &c.MaxConnections }),
		}, {
			name: "PROFILING", preset: "false", unit: "true | false",
			meaning: "serve /debug/pprof on METRICS_ADDR",
			set:     into(boolean, func(c *Config) *bool { return &c.Profiling }),
		}, {
			name: "INTERNET_PROBE", unit: "host:port",
			meaning: "what GET /network tries to reach, to say whether there is a way to the internet; unset for no try",
			set:     into(address, func(c *Config) *string { return &c.InternetProbe }),
		},
	}
}

func callers() []variable {
	return []variable{
		{
			name: "AUTH", preset: string(AuthNone), unit: "none | none-insecure | vpce | token | vpce+token",
			meaning: "how callers prove who they are; none only on a loopback LISTEN_ADDR, none-insecure anywhere",
			set: into(oneOf(AuthNone, AuthNoneInsecure, AuthVPCE, AuthToken, AuthVPCEToken),
				func(c *Config) *Auth { return &c.Auth }),
		}, {
			name: "VPC_ENDPOINT_IDS", unit: "ids, by commas",
			meaning: "VPC endpoints of API Gateway through which callers may come; for AUTH with vpce",
			set:     into(list(vpcEndpoint), func(c *Config) *[]string { return &c.VPCEndpointIDs }),
		}, {
			name: "API_TOKENS_FILE", unit: "file",
			meaning: "hashes of API tokens, as `server token` prints them; read again when it changes",
			set:     into(text, func(c *Config) *string { return &c.TokensFile }),
		}, {
			name: "API_TOKENS_REF", unit: "ARN[#member]",
			meaning: "the same in a Secrets Manager secret, read again every minute",
			set:     into(secretRef, func(c *Config) *SecretRef { return &c.TokensRef }),
		}, {
			name: "VPC_ENABLED", preset: "false", unit: "true | false",
			meaning: "the service stands behind API Gateway in a VPC: with AUTH=vpce and vpce+token its headers are trusted",
			set:     into(boolean, func(c *Config) *bool { return &c.VPCEnabled }),
		}, {
			name: "CORS_ORIGINS", unit: "origins, by commas",
			meaning: "whose pages may call the API; * for all",
			set:     into(origins, func(c *Config) *[]string { return &c.CORSOrigins }),
		},
	}
}

func stores() []variable {
	return []variable{
		{
			name: "STORE", preset: string(StoreEmbedded), unit: "embedded | dynamodb",
			meaning: "where state is kept",
			set:     into(oneOf(StoreEmbedded, StoreDynamoDB), func(c *Config) *StoreKind { return &c.Store }),
		}, {
			name: "DATA_DIR", preset: "./data", unit: "directory",
			meaning: "the embedded store and its key file",
			set:     into(text, func(c *Config) *string { return &c.DataDir }),
		}, {
			name: "ENCRYPTION_KEY", unit: "base64 of 32 octets, by commas",
			meaning: "seals relay passwords and letters in the store; the first seals, all open; required with dynamodb, made in DATA_DIR with embedded",
			set:     into(list(encryptionKey), func(c *Config) *[]Secret { return &c.EncryptionKeys }),
		}, {
			name: "ENCRYPTION_KEY_REF", unit: "ARN[#member] | kms:base64",
			meaning: "the same in a Secrets Manager secret, or encrypted by KMS",
			set:     into(secretRef, func(c *Config) *SecretRef { return &c.EncryptionKeyRef }),
		}, {
			name: "TABLE_PREFIX", unit: "text",
			meaning: "in front of the DynamoDB tables' names",
			set:     into(tablePrefix, func(c *Config) *string { return &c.TablePrefix }),
		}, {
			name: "CREATE_TABLES", preset: "false", unit: "true | false",
			meaning: "create missing DynamoDB tables at start; for local use",
			set:     into(boolean, func(c *Config) *bool { return &c.CreateTables }),
		}, {
			name: "DYNAMODB_ENDPOINT", unit: "URL",
			meaning: "another DynamoDB than the region's, such as DynamoDB Local",
			set:     into(endpoint, func(c *Config) *string { return &c.DynamoDBEndpoint }),
		}, {
			name: "AWS_REGION", unit: "region",
			meaning: "of the DynamoDB tables; required with dynamodb",
			set:     into(text, func(c *Config) *string { return &c.AWSRegion }),
		},
	}
}

func defaultRelay() []variable {
	return []variable{
		{
			name: "SMTP_SERVER", unit: "host",
			meaning: "the default relay, for campaigns that name none",
			set:     into(host, func(c *Config) *string { return &c.SMTP.Server }),
		}, {
			name: "SMTP_PORT", preset: "587", unit: "port",
			meaning: "of the default relay",
			set:     into(port, func(c *Config) *int { return &c.SMTP.Port }),
		}, {
			name: "SMTP_USE_TLS", preset: "true", unit: "true | false",
			meaning: "implicit TLS on port 465, STARTTLS elsewhere; false sends everything in clear",
			set:     into(boolean, func(c *Config) *bool { return &c.SMTP.UseTLS }),
		}, {
			name: "SMTP_USERNAME", unit: "text",
			meaning: "at the default relay; unset for no AUTH",
			set:     into(text, func(c *Config) *string { return &c.SMTP.Username }),
		}, {
			name: "SMTP_PASSWORD", unit: "text", verbatim: true,
			meaning: "at the default relay",
			set:     into(secret, func(c *Config) *Secret { return &c.SMTP.Password }),
		}, {
			name: "SMTP_PASSWORD_REF", unit: "ARN[#member] | kms:base64",
			meaning: "the same in a Secrets Manager secret, or encrypted by KMS",
			set:     into(secretRef, func(c *Config) *SecretRef { return &c.SMTP.PasswordRef }),
		},
	}
}

func relays() []variable {
	return []variable{
		{
			name: "RELAYS", preset: string(RelaysAny), unit: "any | listed | default",
			meaning: "which relays callers may name: every public one besides RELAY_ALLOW, only RELAY_ALLOW and the default one, " +
				"or only the default one with its own account",
			set: into(oneOf(RelaysAny, RelaysListed, RelaysDefault), func(c *Config) *RelayChoice { return &c.Relay.Choice }),
		}, {
			name: "RELAY_REQUIRE_TLS", preset: "false", unit: "true | false",
			meaning: "no campaign may turn TLS off",
			set:     into(boolean, func(c *Config) *bool { return &c.Relay.RequireTLS }),
		}, {
			name: "RELAY_ALLOW", unit: "hosts and CIDRs, by commas",
			meaning: "relays that may be used although they are not public, such as 10.0.0.0/8",
			set:     into(relayAllow, func(c *Config) *RelayAllow { return &c.Relay.Allow }),
		}, {
			name: "RELAY_PORTS", preset: "465,587,2525", unit: "ports, by commas",
			meaning: "ports of relays that may be used; 25 must be asked for",
			set:     into(list(port), func(c *Config) *[]int { return &c.Relay.Ports }),
		}, {
			name: "RELAY_CA_FILE", unit: "PEM file",
			meaning: "further certificate authorities to trust for relays",
			set:     authoritiesFile,
		}, {
			name: "RELAY_CA", unit: "PEM",
			meaning: "the same as text, where there are no files",
			set:     authorities,
		}, {
			name: "RELAY_MAX_CONNECTIONS", preset: "10", unit: "connections",
			meaning: "at most, to one relay (host, port and user name), of all tasks together",
			set:     into(whole(1, 1000), func(c *Config) *int { return &c.Relay.MaxConnections }),
		}, {
			name: "RELAY_RATE", preset: "0", unit: "messages a second",
			meaning: "at most, to one relay, of all tasks together; 0 for no cap",
			set:     into(rate, func(c *Config) *float64 { return &c.Relay.Rate }),
		}, {
			name: "RELAY_DAILY_LIMIT", preset: "0", unit: "messages",
			meaning: "at most, to one relay in any 24 hours, of all tasks together; 0 for no cap",
			set:     into(whole(0, math.MaxInt32), func(c *Config) *int { return &c.Relay.DailyLimit }),
		}, {
			name: "RELAY_MESSAGES_PER_CONNECTION", preset: "1000", unit: "messages",
			meaning: "at most, over one connection, which is then made anew; 0 for no limit",
			set:     into(whole(0, math.MaxInt32), func(c *Config) *int { return &c.Relay.MessagesPerConnection }),
		}, {
			name: "RELAY_TIMEOUT", preset: "10m", unit: "duration",
			meaning: "the longest wait for a step of a relay's; most steps have a shorter one by RFC 5321 4.5.3.2",
			set:     into(duration, func(c *Config) *time.Duration { return &c.Relay.Timeout }),
		},
	}
}

func sending() []variable {
	return []variable{
		{
			name: "RECIPIENT_DOMAINS", unit: "domains, by commas",
			meaning: "that may be sent to, .example.org with all below it; unset for all",
			set:     into(list(recipientDomain), func(c *Config) *[]string { return &c.Sending.RecipientDomains }),
		}, {
			name: "SENDERS", unit: "addresses and @domains, by commas",
			meaning: "that campaigns may be sent from, and be answered to; unset for all",
			set:     into(list(sender), func(c *Config) *[]string { return &c.Sending.Senders }),
		}, {
			name: "MAX_RECIPIENTS", preset: "0", unit: "recipients",
			meaning: "of one campaign, those included who may not be mailed now; one with more fails before its first message; 0 for no limit",
			set:     into(whole(0, math.MaxInt32), func(c *Config) *int { return &c.Sending.MaxRecipients }),
		}, {
			name: "DAILY_RECIPIENTS", preset: "0", unit: "recipients",
			meaning: "of all campaigns that begin in one UTC day, counted likewise; one that is too many is paused before its first message; 0 for no limit",
			set:     into(whole(0, math.MaxInt32), func(c *Config) *int { return &c.Sending.DailyRecipients }),
		},
	}
}

func limits() []variable {
	return []variable{
		{
			name: "RETRY_MIN", preset: "1m", unit: "duration",
			meaning: "the first delay after a temporary failure",
			set:     into(duration, func(c *Config) *time.Duration { return &c.Retry.Min }),
		}, {
			name: "RETRY_MAX", preset: "1h", unit: "duration",
			meaning: "the longest delay between two attempts",
			set:     into(duration, func(c *Config) *time.Duration { return &c.Retry.Max }),
		}, {
			name: "RETRY_FOR", preset: "24h", unit: "duration",
			meaning: "give a recipient up after this time",
			set:     into(duration, func(c *Config) *time.Duration { return &c.Retry.For }),
		}, {
			name: "CAMPAIGN_TIME_LIMIT", preset: "72h", unit: "duration",
			meaning: "a campaign fails that is in progress for longer; 0 for no limit",
			set:     into(durationOrZero, func(c *Config) *time.Duration { return &c.CampaignTimeLimit }),
		}, {
			name: "SCHEDULE_GRACE", preset: "1h", unit: "duration",
			meaning: "a scheduled campaign that could start only later than this is paused instead",
			set:     into(duration, func(c *Config) *time.Duration { return &c.ScheduleGrace }),
		}, {
			name: "SHUTDOWN_TIMEOUT", preset: "25s", unit: "duration",
			meaning: "to finish what is in flight after SIGTERM; 110s on Fargate, which kills after 120 s",
			set:     into(duration, func(c *Config) *time.Duration { return &c.ShutdownTimeout }),
		}, {
			name: "MAX_REQUEST_BYTES", preset: "41943040", unit: "octets",
			meaning: "of one request's body (40 MiB; base64 makes a file a third larger)",
			set:     into(whole[int64](1<<10, 1<<30), func(c *Config) *int64 { return &c.MaxRequestBytes }),
		}, {
			name: "MAX_ATTACHMENT_BYTES", preset: "26214400", unit: "octets",
			meaning: "of one campaign's attachments together (25 MiB)",
			set:     into(whole[int64](0, 1<<30), func(c *Config) *int64 { return &c.MaxAttachmentBytes }),
		}, {
			name: "MAX_INFLIGHT_BYTES", preset: "100663296", unit: "octets",
			meaning: "of all requests' bodies together (96 MiB); beyond it 503",
			set:     into(whole[int64](1<<10, 1<<40), func(c *Config) *int64 { return &c.MaxInFlightBytes }),
		}, {
			name: "MAX_LETTER_BYTES", preset: "134217728", unit: "octets",
			meaning: "in memory, of the letters that are being sent, with their attachments in base64 (128 MiB); others wait, a larger one goes alone",
			set:     into(whole[int64](1<<10, 1<<40), func(c *Config) *int64 { return &c.MaxLetterBytes }),
		}, {
			name: "DELIVERY_RETENTION", preset: "0", unit: "duration",
			meaning: "delete who got what this long behind a campaign's end, the audit trail's digests apart; 0 for never",
			set:     into(durationOrZero, func(c *Config) *time.Duration { return &c.DeliveryRetention }),
		},
	}
}

func logs() []variable {
	return []variable{
		{
			name: "LOG_LEVEL", preset: "info", unit: strings.Join(LogLevels, " | "),
			meaning: "the least important lines to log",
			set:     into(oneOf(LogLevels...), func(c *Config) *string { return &c.LogLevel }),
		}, {
			name: "LOG_ADDRESSES", preset: "false", unit: "true | false",
			meaning: "log addresses of persons as they are; otherwise as keyed digests",
			set:     into(boolean, func(c *Config) *bool { return &c.LogAddresses }),
		}, {
			name: "EMF_NAMESPACE", unit: "CloudWatch namespace",
			meaning: "log the backlog every minute as a metric of CloudWatch's embedded format; unset for not at all",
			set:     into(namespace, func(c *Config) *string { return &c.EMFNamespace }),
		},
	}
}

// Usage prints the table: every variable with its default, unit and meaning.
func Usage(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "VARIABLE\tDEFAULT\tUNIT\tMEANING")
	for _, v := range variables() {
		preset := v.preset
		if preset == "" {
			preset = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", v.name, preset, v.unit, v.meaning)
	}
	_ = t.Flush() // help that cannot be written helps nobody
}
