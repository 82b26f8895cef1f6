package network

import (
	"encoding/json"
	"time"

	"postern/internal/doctor"
)

// Snapshot is what was measured, as the API shows it.
type Snapshot struct {
	Task     Task     `json:"task"`
	Internet Internet `json:"internet"`
	Store    Store    `json:"store"`
	Relay    Relay    `json:"relay"`
}

// Measured says of a measurement when it was made, and what is not known and
// why.
type Measured struct {
	MeasuredAt *time.Time `json:"measured_at"`
	// Reason says why something beside it is null; nil where all is known.
	Reason *string `json:"reason"`
}

// fill gives the reason for what has not been measured yet.
func (m *Measured) fill(missing bool) {
	if missing && m.Reason == nil {
		m.Reason = new("it is being measured")
	}
}

// List is a list that may be unknown: nil is null.
type List[T any] []T

// MarshalJSON tells nil from empty, which JSON libraries do not all.
func (l List[T]) MarshalJSON() ([]byte, error) { return json.Marshal([]T(l)) }

// Task is where the task is, as ECS says.
type Task struct {
	AvailabilityZone *string      `json:"availability_zone"`
	Subnets          List[string] `json:"subnets"`           // CIDR blocks; nil for unknown
	PrivateAddresses List[string] `json:"private_addresses"` // nil for unknown

	Measured `json:",inline"`
}

// Internet is whether there is a way to the internet.
type Internet struct {
	Target       *string  `json:"target"` // host:port that was tried
	Reachable    *bool    `json:"reachable"`
	Milliseconds *float64 `json:"milliseconds"` // until the connection stood

	Measured `json:",inline"`
}

// Store is where the store is and how fast it answers.
type Store struct {
	Kind      string        `json:"kind"`
	Endpoint  *string       `json:"endpoint"`
	Addresses List[Address] `json:"addresses"` // of the endpoint's name; nil for unknown
	Reachable *bool         `json:"reachable"`
	LatencyMS *float64      `json:"latency_ms"` // of one small read
	// GatewayEndpoint: calls go through a gateway endpoint of the VPC.
	GatewayEndpoint *bool   `json:"gateway_endpoint"`
	GatewayReason   *string `json:"gateway_endpoint_reason"`

	Measured `json:",inline"`
}

// Address is one that a name has.
type Address struct {
	Address string `json:"address"`
	Private bool   `json:"private"`
}

// Relay is whether a relay can be reached, and how it encrypts.
type Relay struct {
	Server    *string `json:"server"`
	Port      *int    `json:"port"`
	Reachable *bool   `json:"reachable"`
	// TLS is nil where it is not known, or there is none.
	TLS *doctor.TLS `json:"tls"`
	// Source is where that is from: a task's sessions, or a connection of its
	// own for the purpose.
	Source *Source `json:"source"`

	Measured `json:",inline"`
}

// Source is where knowledge of a relay is from.
type Source string

// The sources.
const (
	FromSessions Source = "sessions"
	FromProbe    Source = "probe"
)

// gatewayEndpoint says whether the store's calls go through a gateway endpoint.
// Such an endpoint leaves DynamoDB's addresses public and changes the route
// only, so it shows in one way: public addresses answer where there is no way
// to the internet.
func gatewayEndpoint(s Store, i Internet) (is *bool, reason *string) {
	yes, no := true, false
	switch {
	case s.Endpoint == nil:
		return nil, new("the store has no endpoint")
	case s.Addresses == nil || s.Reachable == nil:
		return nil, new("the endpoint's addresses are not known, or it has not been tried")
	case allPrivate(s.Addresses):
		return &no, nil
	case i.Reachable == nil:
		return nil, new("the addresses are public, as they are with a gateway endpoint and without one; " +
			"INTERNET_PROBE, which would tell, has no answer")
	case *i.Reachable:
		return nil, new("the addresses are public and there is a way to the internet: the route table alone knows which one is taken")
	case !*s.Reachable:
		return nil, new("DynamoDB does not answer")
	default:
		return &yes, nil
	}
}

func allPrivate(addresses []Address) bool {
	for _, a := range addresses {
		if !a.Private {
			return false
		}
	}
	return true
}
