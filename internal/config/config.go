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

	// VPCEnabled: the service stands behind API Gateway in a VPC, and its
	// headers are trusted.
	VPCEnabled bool
	Auth       Auth
	// EncryptionKey reveals KeyOctets octets, decoded; empty where the
	// embedded store's key file is to be used.
	EncryptionKey Secret
	CORSOrigins   []string // "*" alone allows every origin

	MaxRequestBytes    int64 // octets of a request's body
	MaxAttachmentBytes int64 // octets of a campaign's attachments together, decoded
	MaxInFlightBytes   int64 // octets of all request bodies in flight together

	LogLevel string // one of LogLevels
}

// KeyOctets is the length of the encryption key.
const KeyOctets = 32

// SMTP is the default relay. Server is "" when there is none.
type SMTP struct {
	Server   string
	Port     int
	UseTLS   bool
	Username string
	Password Secret
}

// Relay limits which relays may be used, and how much. A relay is a host, a
// port and a user name; its caps hold for all tasks together.
type Relay struct {
	Allow RelayAllow
	Ports []int
	Roots *x509.CertPool // the system's and those of RELAY_CA_FILE; nil for the system's

	MaxConnections int     // a cap
	Rate           float64 // messages a second, a cap; 0 for none
	DailyLimit     int     // messages in any 24 hours, a cap; 0 for none

	MessagesPerConnection int           // then it is closed; 0 for no limit
	Timeout               time.Duration // the longest wait for one step of a relay's
}

// RelayAllow names relays that may be used although their addresses are not
// public.
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
)

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
