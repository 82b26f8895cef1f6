package app

import (
	"context"
	"net/url"
	"time"

	"postern/internal/api"
	"postern/internal/campaign"
	"postern/internal/config"
	"postern/internal/doctor"
	"postern/internal/engine"
	"postern/internal/network"
	"postern/internal/store"
	"postern/internal/store/dynamo"
)

// Bounds of the checks of relays that callers of the API ask for.
const (
	// checksAtOnce keeps the service from being used to try many passwords or
	// relays.
	checksAtOnce = 4
	// checkWithin is below the 29 s for which API Gateway waits.
	checkWithin = 20 * time.Second
	// checkStep leaves time for the steps behind a slow one.
	checkStep = 8 * time.Second
)

// diagnosis is the API's way to the doctor and to what the network monitor has
// measured.
type diagnosis struct {
	*network.Monitor

	engine *engine.Engine
	doctor.Relay
	slots chan struct{}
}

var _ api.Diagnosis = (*diagnosis)(nil)

// newDiagnosis is for the store and the engine of this process. Close ends it.
func newDiagnosis(cfg config.Config, s store.Store, e *engine.Engine, ec engine.Config) *diagnosis {
	d := &diagnosis{
		engine: e, slots: make(chan struct{}, checksAtOnce),
		Relay: doctor.Relay{Session: ec.Session, Within: checkWithin, MaxAttachmentBytes: cfg.MaxAttachmentBytes, Discreet: true},
	}
	d.Session.Timeouts.Longest = min(cfg.Relay.Timeout, checkStep)
	d.Monitor = network.New(network.Config{
		TaskMetadata: cfg.TaskMetadata, InternetProbe: cfg.InternetProbe,
		StoreKind: string(cfg.Store), StoreURL: storeURL(s),
		ReadStore: func(ctx context.Context) error {
			_, err := s.Signal(ctx)
			return err
		},
		Relay: ec.DefaultRelay, Session: d.Session, Sessions: d.sessions,
	})
	return d
}

// storeURL is where the store's server is; nil where it has none.
func storeURL(s store.Store) *url.URL {
	if remote, is := s.(*dynamo.Store); is {
		if endpoint, err := remote.Endpoint(context.Background()); err == nil {
			return endpoint
		}
	}
	return nil
}

// sessions says what the engine's sessions tell of their relays.
func (d *diagnosis) sessions() []network.RelayState {
	states := d.engine.RelayStates()
	all := make([]network.RelayState, len(states))
	for i, s := range states {
		all[i] = network.RelayState{Host: s.Host, Port: s.Port, Reachable: s.Trouble.Text == "", Trouble: s.Trouble.Text}
		if s.TLS != nil {
			all[i].TLS = doctor.Encryption(*s.TLS)
		}
	}
	return all
}

// CheckRelay implements api.Diagnosis.
func (d *diagnosis) CheckRelay(ctx context.Context, q api.RelayQuestion) (doctor.Check, error) {
	to, err := d.engine.Relay(ctx, q.Relay)
	if err != nil {
		return doctor.Check{}, err
	}
	if err := d.engine.CheckEnvelope(q.From, q.To); err != nil {
		return doctor.Check{}, err
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	default:
		return doctor.Check{}, campaign.Errorf(campaign.CodeUnavailable, "%d checks of relays are under way; try again when they are done", checksAtOnce)
	}
	r := d.Relay
	r.Relay, r.From, r.To, r.LetterBytes = to, q.From, q.To, q.LetterBytes
	return doctor.CheckRelay(ctx, r), nil
}

// Network implements api.Diagnosis.
func (d *diagnosis) Network(ctx context.Context) network.Snapshot { return d.Measure(ctx) }

// Indicators implements api.Diagnosis.
func (d *diagnosis) Indicators(host string, port int) network.Snapshot {
	s := d.Latest()
	s.Relay = d.RelayOf(host, port)
	return s
}
