package api

import (
	"context"
	"net/http"

	"postern/internal/campaign"
	"postern/internal/doctor"
	"postern/internal/engine"
	"postern/internal/network"
)

// Diagnosis finds out why mail does not flow.
type Diagnosis interface {
	// CheckRelay walks the way to a relay, in less time than API Gateway waits.
	// CodeInvalid for a relay that no campaign could name; CodeUnavailable
	// where too many checks are under way.
	CheckRelay(ctx context.Context, q RelayQuestion) (doctor.Check, error)
	// Network measures what is out of date, and waits for that until the
	// context ends.
	Network(ctx context.Context) network.Snapshot
	// Indicators is Network as it was measured last, without waiting, with the
	// relay that is named.
	Indicators(host string, port int) network.Snapshot
}

// RelayQuestion is what is to be found out about a relay.
type RelayQuestion struct {
	Relay       engine.SubmittedRelay
	From, To    string // of an envelope to ask about; "" for none
	LetterBytes int64
}

// checkIn is the body of POST /relays/check.
type checkIn struct {
	MailFrom    string `json:"mail_from"`
	RcptTo      string `json:"rcpt_to"`
	LetterBytes number `json:"letter_bytes"`

	relayIn `json:",inline"`
}

func (in checkIn) question() (RelayQuestion, error) {
	var f faults
	q := RelayQuestion{Relay: in.relay(&f), From: in.MailFrom, To: in.RcptTo, LetterBytes: int64(in.LetterBytes)}
	if in.LetterBytes < 0 {
		f.add("letter_bytes", "must not be negative")
	}
	if in.MailFrom != "" {
		f.check("mail_from", campaign.CheckAddress(in.MailFrom))
	}
	if in.RcptTo != "" {
		f.check("rcpt_to", campaign.CheckAddress(in.RcptTo))
		if in.MailFrom == "" {
			f.add("mail_from", "is required where there is a rcpt_to")
		}
	}
	return q, f.err()
}

// checkRelay answers 200 when the check was made, whatever came of it.
func (a *api) checkRelay(w http.ResponseWriter, r *http.Request) {
	var in checkIn
	err := readOptionalJSON(r, &in)
	var q RelayQuestion
	if err == nil {
		q, err = in.question()
	}
	var check doctor.Check
	if err == nil {
		check, err = a.opts.Diagnosis.CheckRelay(r.Context(), q)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	ok(w, check)
}

// networkOut are the indicators of where the service stands in its network.
type networkOut struct {
	Caller callerOut `json:"caller"`

	network.Snapshot `json:",inline"`
}

// callerOut is where the call came from.
type callerOut struct {
	VPCEndpoint *string `json:"vpc_endpoint"`
	Reason      *string `json:"reason"`
}

func (a *api) networkOut(r *http.Request, s network.Snapshot) *networkOut {
	out := &networkOut{Snapshot: s, Caller: callerOut{VPCEndpoint: orNull(a.sourceVPCE(r))}}
	if out.Caller.VPCEndpoint == nil { // else the call would not have come this far
		out.Caller.Reason = orNull("AUTH asks for no VPC endpoint, so no header that names one is trusted")
	}
	return out
}

// networkWithin bounds the wait for measurements.
const networkWithin = readyTimeout

func (a *api) getNetwork(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), networkWithin)
	defer cancel()
	ok(w, a.networkOut(r, a.opts.Diagnosis.Network(ctx)))
}

// campaignStatusOut is a campaign with the indicators of its network.
type campaignStatusOut struct {
	campaignOut `json:",inline"`

	Network *networkOut `json:"network"`
}

func (a *api) campaignStatusOut(r *http.Request, report engine.Report) campaignStatusOut {
	relay := report.Campaign.Relay
	return campaignStatusOut{
		campaignOut: a.campaignOut(report, r.URL.Path),
		Network:     a.networkOut(r, a.opts.Diagnosis.Indicators(relay.Host, relay.Port)),
	}
}
