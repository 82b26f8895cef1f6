package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"postern/internal/doctor"
)

// maxMetadata bounds what is read of the task's metadata, in octets.
const maxMetadata = 1 << 20

// now is the time of a measurement, with the reason why something is missing.
func (m *Monitor) now(reason error) Measured {
	at := m.cfg.Now().UTC()
	out := Measured{MeasuredAt: &at}
	if reason != nil {
		out.Reason = new(reason.Error())
	}
	return out
}

// taskMetadata is what is used of the answer of the task metadata endpoint,
// version 4, to /task.
type taskMetadata struct {
	AvailabilityZone string
	Containers       []struct {
		Networks []struct {
			IPv4Addresses       []string
			IPv6Addresses       []string
			IPv4SubnetCIDRBlock string
			IPv6SubnetCIDRBlock string
		}
	}
}

func (m *Monitor) measureTask(ctx context.Context) Task {
	if m.cfg.TaskMetadata == "" {
		return Task{Measured: m.now(errors.New("this is no task of ECS: ECS_CONTAINER_METADATA_URI_V4 is not set"))}
	}
	found, err := m.fetchTask(ctx)
	if err != nil {
		return Task{Measured: m.now(fmt.Errorf("the task's metadata: %w", err))}
	}
	var t Task
	for _, container := range found.Containers {
		for _, n := range container.Networks {
			t.Subnets = add(t.Subnets, n.IPv4SubnetCIDRBlock, n.IPv6SubnetCIDRBlock)
			t.PrivateAddresses = add(t.PrivateAddresses, n.IPv4Addresses...)
			t.PrivateAddresses = add(t.PrivateAddresses, n.IPv6Addresses...)
		}
	}
	if found.AvailabilityZone != "" {
		t.AvailabilityZone = &found.AvailabilityZone
	}
	t.Measured = m.now(nil)
	if t.AvailabilityZone == nil || t.Subnets == nil || t.PrivateAddresses == nil {
		t.Reason = new("the task's metadata does not say all of it")
	}
	return t
}

// add adds what is not there yet: the containers of a task share its network.
func add(to []string, values ...string) []string {
	for _, v := range values {
		if v != "" && !slices.Contains(to, v) {
			to = append(to, v)
		}
	}
	return to
}

func (m *Monitor) fetchTask(ctx context.Context) (found taskMetadata, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.cfg.TaskMetadata+"/task", http.NoBody)
	if err != nil {
		return found, err
	}
	resp, err := m.web.Do(req)
	if err != nil {
		return found, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return found, errors.New("answered " + resp.Status)
	}
	return found, json.NewDecoder(io.LimitReader(resp.Body, maxMetadata)).Decode(&found)
}

func (m *Monitor) measureInternet(ctx context.Context) Internet {
	target := m.cfg.InternetProbe
	if target == "" {
		return Internet{Measured: m.now(errors.New("INTERNET_PROBE is not set, so nothing is tried"))}
	}
	out := Internet{Target: &target, Reachable: new(bool)}
	began := time.Now()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", target)
	out.Measured = m.now(err)
	if err == nil {
		*out.Reachable, out.Milliseconds = true, milliseconds(time.Since(began))
		_ = conn.Close()
	}
	return out
}

func milliseconds(d time.Duration) *float64 {
	ms := float64(d.Microseconds()) / 1000
	return &ms
}

func (m *Monitor) measureStore(ctx context.Context) Store {
	out := Store{Reachable: new(bool)}
	var unknown error
	if m.cfg.StoreURL != nil {
		out.Endpoint = new(m.cfg.StoreURL.String())
		out.Addresses, unknown = addressesOf(ctx, m.cfg.StoreURL.Hostname())
	} else {
		unknown = errors.New("the store is a file of the task's, with no endpoint")
	}
	began := time.Now()
	err := m.cfg.ReadStore(ctx)
	if err == nil {
		*out.Reachable, out.LatencyMS = true, milliseconds(time.Since(began))
	}
	out.Measured = m.now(errors.Join(err, unknown))
	return out
}

func addressesOf(ctx context.Context, host string) ([]Address, error) {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var all []Address
	for _, addr := range found {
		all = append(all, Address{Address: addr.Unmap().String(), Private: isPrivate(addr.Unmap())})
	}
	return all, nil
}

func isPrivate(addr netip.Addr) bool {
	return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast()
}

func (m *Monitor) measureRelay(ctx context.Context) Relay {
	to := m.cfg.Relay
	if to.Host == "" {
		return Relay{Measured: m.now(errors.New("there is no default relay: SMTP_SERVER is not set"))}
	}
	if known, is := m.fromSessions(to.Host, to.Port); is {
		return known
	}
	// No AUTH: a wrong password that is tried every half a minute would lock
	// the account.
	to.Username, to.Password = "", ""
	session := m.cfg.Session
	session.Timeouts.Longest = relayWithin / 2
	c := doctor.CheckRelay(ctx, doctor.Relay{Relay: to, Session: session})
	source, reachable := FromProbe, c.OK
	out := Relay{Server: &to.Host, Port: &to.Port, Reachable: &reachable, TLS: c.TLS, Source: &source}
	for _, step := range c.Steps {
		if step.State == doctor.Failed {
			out.Measured = m.now(fmt.Errorf("%s: %s", step.Name, step.Detail))
			return out
		}
	}
	out.Measured = m.now(nil)
	if c.TLS == nil {
		out.Reason = new("TLS is turned off for it")
	}
	return out
}

// fromSessions is a relay as the task's sessions know it.
func (m *Monitor) fromSessions(host string, port int) (Relay, bool) {
	for _, s := range m.cfg.Sessions() {
		if s.Host != host || s.Port != port {
			continue
		}
		source, reachable := FromSessions, s.Reachable
		out := Relay{Server: &host, Port: &port, Reachable: &reachable, TLS: s.TLS, Source: &source}
		var reason error
		switch {
		case s.Trouble != "":
			reason = errors.New(s.Trouble)
		case s.TLS == nil:
			reason = errors.New("its sessions have no TLS")
		}
		out.Measured = m.now(reason)
		return out, true
	}
	return Relay{}, false
}

// RelayOf is what is known of any relay, without waiting.
func (m *Monitor) RelayOf(host string, port int) Relay {
	if known, is := m.fromSessions(host, port); is {
		return known
	}
	if last := m.relay.last(); host == m.cfg.Relay.Host && port == m.cfg.Relay.Port && last.MeasuredAt != nil {
		return last
	}
	return Relay{Server: &host, Port: &port, Measured: Measured{
		Reason: new("this task has no session with it now; POST /relays/check tries it"),
	}}
}
