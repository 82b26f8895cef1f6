// Package config reads Postern's configuration from the environment. Load
// gives a Config that is valid as a whole, or an error that names every fault
// at once. One table (table.go) holds every variable's name, default, unit,
// meaning and rule; Usage prints it. It imports the standard library only.
package config

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Config is a valid configuration. Load makes it.
type Config struct {
	ListenAddr  string // host:port of the API
	MetricsAddr string // host:port of /metrics
	// MaxConnections is how many connections the API's listener has open at
	// most; further ones wait to be accepted.
	MaxConnections int
	TLS            TLS
	Profiling      bool // /debug/pprof beside /metrics

	Store   StoreKind
	DataDir string // of the embedded store and its key file

	TablePrefix      string // of the DynamoDB tables' names
	CreateTables     bool   // create missing DynamoDB tables at start
	DynamoDBEndpoint string // a URL; "" for the region's own
	AWSRegion        string

	SMTP  SMTP
	Relay Relay
	Retry Retry

	// CampaignTimeLimit is how long a campaign may be in progress before it
	// fails; 0 for no limit.
	CampaignTimeLimit time.Duration
	// ScheduleGrace is how late a scheduled campaign may start by itself.
	ScheduleGrace time.Duration

	ShutdownTimeout time.Duration

	// VPCEnabled: the service stands behind API Gateway in a VPC. Its headers are
	// trusted where Auth asks for an endpoint.
	VPCEnabled bool
	Auth       Auth
	// VPCEndpointIDs are the endpoints through which callers may come, where
	// Auth asks for one.
	VPCEndpointIDs []string
	// TokensFile and TokensRef say where the hashes of API tokens are, where
	// Auth asks for tokens; one of them is set then.
	TokensFile string
	TokensRef  SecretRef
	// EncryptionKeys reveal KeyOctets octets each, decoded, the newest first:
	// it seals, and all of them open. None where EncryptionKeyRef or the
	// embedded store's key file is to be used.
	EncryptionKeys   []Secret
	EncryptionKeyRef SecretRef
	CORSOrigins      []string // "*" alone allows every origin

	MaxRequestBytes    int64 // octets of a request's body
	MaxAttachmentBytes int64 // octets of a campaign's attachments together, decoded
	MaxInFlightBytes   int64 // octets of all request bodies in flight together
	MaxLetterBytes     int64 // octets in memory of the letters that are being sent

	Sending Sending

	// DeliveryRetention is how long the rows of deliveries and the frozen
	// audiences, which name persons, are kept behind a campaign's end; 0 for
	// ever.
	DeliveryRetention time.Duration

	// InternetProbe is the host:port that GET /network tries to reach, to say
	// whether there is a way to the internet; "" for no try.
	InternetProbe string
	// TaskMetadata is the base URL of the ECS task metadata endpoint, version
	// 4, which ECS itself names in ECS_CONTAINER_METADATA_URI_V4; "" elsewhere.
	TaskMetadata string

	LogLevel     string // one of LogLevels
	LogAddresses bool   // log addresses of persons as they are, not as keyed digests

	// EMFNamespace is the CloudWatch namespace of the metric Backlog, which is
	// logged every minute in CloudWatch's embedded metric format; "" for none.
	EMFNamespace string
}

// TLS is how the API's listener is protected.
type TLS struct {
	Mode     TLSMode
	CertFile string // PEM, the chain; of TLSFiles
	KeyFile  string // PEM; of TLSFiles
	// Names stand in the certificate of TLSSelfSigned besides the machine's
	// own.
	Names []string
}

// TLSMode is where the listener's certificate comes from.
type TLSMode string

// The modes of TLS.
const (
	// TLSOff: the listener speaks plain HTTP.
	TLSOff TLSMode = "off"
	// TLSSelfSigned: a certificate made at start, for the hop behind a load
	// balancer that encrypts and does not verify.
	TLSSelfSigned TLSMode = "self-signed"
	// TLSFiles: a certificate and a key in files, which are read again when
	// they change.
	TLSFiles TLSMode = "files"
)

// Sending limits who may be sent to, as whom, and how many.
type Sending struct {
	// RecipientDomains are the domains (in lower case, ASCII) that may be sent
	// to, with their subdomains where they begin with a dot; none for all.
	RecipientDomains []string
	// Senders are addresses, and domains as "@example.org", in lower case, that
	// may stand in From; none for all.
	Senders []string
	// MaxRecipients of one campaign; 0 for no limit.
	MaxRecipients int
	// DailyRecipients of all campaigns that begin in one UTC day, of all tasks
	// together; 0 for no limit.
	DailyRecipients int
}

// SecretRef names a secret that is kept elsewhere: the ARN of a Secrets Manager
// secret, followed by "#" and a member's name where the secret is a JSON
// object, or "kms:" and the base64 of what KMS has encrypted. "" for none.
type SecretRef string

// KeyOctets is the length of the encryption key.
const KeyOctets = 32

// SMTP is the default relay. Server is "" when there is none.
type SMTP struct {
	Server   string
	Port     int
	UseTLS   bool
	Username string
	Password Secret
	// PasswordRef is where the password is, instead of Password.
	PasswordRef SecretRef
}

// Relay limits which relays may be used, and how much. A relay is a host, a
// port and a user name; its caps hold for all tasks together.
type Relay struct {
	Allow RelayAllow
	Ports []int
	// Choice is which relays callers may name, beside the default one.
	Choice RelayChoice
	// RequireTLS: no relay is used in clear.
	RequireTLS bool
	Roots      *x509.CertPool // the system's and those of RELAY_CA_FILE or RELAY_CA; nil for the system's

	MaxConnections int     // a cap
	Rate           float64 // messages a second, a cap; 0 for none
	DailyLimit     int     // messages in any 24 hours, a cap; 0 for none

	MessagesPerConnection int           // then it is closed; 0 for no limit
	Timeout               time.Duration // the longest wait for one step of a relay's
}

// RelayChoice is which relays callers may name.
type RelayChoice string

// The choices of relays.
const (
	RelaysAny     RelayChoice = "any"     // every public one, and those of RelayAllow
	RelaysListed  RelayChoice = "listed"  // those of RelayAllow, and the default one
	RelaysDefault RelayChoice = "default" // the default one with its own account
)

// RelayAllow names relays that may be used although their addresses are not
// public; with RelaysListed it names all that may be used.
type RelayAllow struct {
	Hosts    []string // host names, in lower case
	Networks []netip.Prefix
}

// Retry says how temporary failures are tried again.
type Retry struct {
	Min time.Duration // the first delay
	Max time.Duration // the longest delay
	For time.Duration // a recipient fails for good after this time
}

// StoreKind is where state is kept.
type StoreKind string

// The kinds of store.
const (
	StoreEmbedded StoreKind = "embedded"
	StoreDynamoDB StoreKind = "dynamodb"
)

// Auth is how callers prove who they are.
type Auth string

// The ways to authenticate.
const (
	// AuthNone: not at all, so only on a loopback listener.
	AuthNone Auth = "none"
	// AuthNoneInsecure: not at all, on any listener; for containers whose
	// ports are published on a loopback address.
	AuthNoneInsecure Auth = "none-insecure"
	// AuthVPCE: API Gateway's header names one of VPCEndpointIDs.
	AuthVPCE Auth = "vpce"
	// AuthToken: a bearer token with the scope that the call needs.
	AuthToken Auth = "token"
	// AuthVPCEToken: both.
	AuthVPCEToken Auth = "vpce+token"
)

// Tokens says whether callers need a token.
func (a Auth) Tokens() bool { return a == AuthToken || a == AuthVPCEToken }

// Endpoints says whether callers must come through a VPC endpoint that is
// listed.
func (a Auth) Endpoints() bool { return a == AuthVPCE || a == AuthVPCEToken }

// LogLevels are the values of LOG_LEVEL, most to least talkative.
var LogLevels = []string{"trace", "debug", "info", "warn", "error"}

// Fault is one rule that one variable broke. It never echoes a secret.
type Fault struct {
	Name string
	Rule string
}

// Error names every fault of a configuration.
type Error struct{ Faults []Fault }

// Error gives the faults, one a line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d fault(s) in the configuration:", len(e.Faults))
	for _, f := range e.Faults {
		fmt.Fprintf(&b, "\n  %s %s", f.Name, f.Rule)
	}
	return b.String()
}

// Load reads the configuration; getenv is os.Getenv, or what stands for it in
// a test. A variable that is empty or white space counts as unset. The error
// is an *Error.
func Load(getenv func(string) string) (Config, error) {
	var c Config
	var faults []Fault
	faulty := map[string]bool{}
	for _, v := range variables() {
		if err := v.set(&c, v.read(getenv)); err != nil {
			faulty[v.name] = true
			faults = append(faults, Fault{Name: v.name, Rule: err.Error()})
		}
	}
	// Nobody sets this one, so it is not in the table.
	c.TaskMetadata = getenv("ECS_CONTAINER_METADATA_URI_V4")
	for _, k := range checks() {
		// A rule between variables means nothing where one of them is at
		// fault by itself.
		if !k.concerns(faulty) && !k.holds(c) {
			faults = append(faults, Fault{Name: k.names[0], Rule: k.rule})
		}
	}
	if len(faults) > 0 {
		return Config{}, &Error{Faults: faults}
	}
	return c, nil
}
