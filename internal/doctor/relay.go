package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer"
)

// Relay is a relay to be checked, and how.
type Relay struct {
	mailer.Relay
	// Session is how campaigns connect. Its time-outs bound each step.
	Session mailer.Options
	// Within bounds the whole check; 0 for no bound but the context's.
	Within time.Duration
	// MaxAttachmentBytes is what a campaign's attachments may have together,
	// in octets before base64; 0 for none.
	MaxAttachmentBytes int64
	// LetterBytes is the size of a whole message to be judged; 0 for none.
	LetterBytes int64
	// From and To ask the relay about an envelope (MAIL FROM, RCPT TO), which
	// is called off again; "" leaves the question out. To needs From.
	From, To string
	// Discreet says of a name's addresses no more than that the rules refuse
	// them, where they do: for a check by others than who runs the service.
	Discreet bool
}

// patient is a relay on its way through a check.
type patient struct {
	Relay
	*walk

	now     func() time.Time
	session *mailer.Opening // nil before TCP stands
}

// CheckRelay walks the way to a relay up to where a message could be sent, and
// asks about an envelope where that is wanted. The relay's rules hold for
// every address that is dialled, and nothing is dialled that they refuse: so
// what stands at such an address stays unknown.
func CheckRelay(ctx context.Context, r Relay) Check {
	if r.Within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.Within, fmt.Errorf("the check as a whole may take %s", r.Within))
		defer cancel()
	}
	p := &patient{Relay: r, walk: newWalk("relay " + r.Addr()), now: time.Now}
	p.reach(ctx)
	defer func() {
		if p.session != nil {
			p.session.Close()
		}
	}()
	p.greet(ctx)
	p.take(ctx, "auth", p.authenticate)
	p.take(ctx, "size", p.size)
	p.take(ctx, "mail", p.mailFrom)
	p.take(ctx, "rcpt", p.rcptTo)
	return p.check
}

// reach is the way to a TCP connection.
func (p *patient) reach(ctx context.Context) {
	var found []netip.Addr
	// First the rules about what was written: a name that may not be used is
	// not resolved.
	refusal := p.Session.Rules.CheckRelay(p.Relay.Relay)
	p.take(ctx, "dns", func(ctx context.Context) finding {
		if refusal != nil {
			return skip("not asked: the rules for relays refuse it as it is written")
		}
		addresses, f := p.resolve(ctx)
		found = addresses
		return f
	})
	p.take(ctx, "rules", func(context.Context) finding {
		if refusal != nil {
			return failure(refusal.Error(), hintRules)
		}
		return p.judge(found)
	})
	p.take(ctx, "tcp", p.connect)
}

// resolve finds all addresses of the host.
func (p *patient) resolve(ctx context.Context) ([]netip.Addr, finding) {
	if addr, err := netip.ParseAddr(p.Host); err == nil {
		return []netip.Addr{addr}, fine(p.Host + " is an address")
	}
	if longest := p.Session.Timeouts.Longest; longest > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, longest)
		defer cancel()
	}
	resolver := p.Session.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	found, err := resolver.LookupNetIP(ctx, "ip", p.Host)
	if err == nil {
		return found, fine(p.Host + " " + p.tell(found))
	}
	if dns, is := errors.AsType[*net.DNSError](err); is && dns.IsNotFound {
		return nil, failure("there is no host "+p.Host, hintNoHost)
	}
	return nil, failure(fmt.Sprintf("no answer about %s: %v", p.Host, err), hintNoDNS)
}

// tell says what addresses a name has.
func (p *patient) tell(found []netip.Addr) string {
	if !p.Discreet {
		return "has " + joined(found)
	}
	const refused = "addresses that the rules for relays refuse"
	allowed := slices.DeleteFunc(slices.Clone(found), func(addr netip.Addr) bool {
		return p.Session.Rules.CheckAddress(p.Host, addr) != nil
	})
	switch len(allowed) {
	case len(found):
		return "has " + joined(found)
	case 0:
		return "has " + refused
	default:
		return "has " + joined(allowed) + ", and " + refused
	}
}

// judge applies the rules to each address. One that is refused is a fault only
// where there is no other.
func (p *patient) judge(found []netip.Addr) finding {
	var allowed []netip.Addr
	var refusals []string
	for _, addr := range found {
		if err := p.Session.Rules.CheckAddress(p.Host, addr); err != nil {
			refusals = appendNew(refusals, err.Error())
		} else {
			allowed = append(allowed, addr)
		}
	}
	switch {
	case len(allowed) == 0:
		return failure(strings.Join(refusals, "; "), hintRules)
	case len(refusals) > 0:
		return warning("allowed: "+joined(allowed)+"; "+strings.Join(refusals, "; "), hintRules)
	default:
		return fine("allowed by RELAY_ALLOW and RELAY_PORTS")
	}
}

func appendNew(texts []string, text string) []string {
	if slices.Contains(texts, text) {
		return texts
	}
	return append(texts, text)
}

func (p *patient) connect(ctx context.Context) finding {
	session, err := mailer.Open(ctx, p.Relay.Relay, p.Session)
	if err != nil {
		return failure(reason(err), hintTCP(err, p.Relay.Relay))
	}
	p.session = session
	return fine("connected to " + session.RemoteAddr().String())
}

// greet is the way from a connection to one that is encrypted.
func (p *patient) greet(ctx context.Context) {
	if p.ImplicitTLS() {
		p.take(ctx, "tls", func(ctx context.Context) finding { return p.encrypted(p.session.Handshake(ctx)) })
	}
	p.take(ctx, "greeting", func(ctx context.Context) finding {
		greeting, err := p.session.Greet(ctx)
		if err != nil {
			return failure(reason(err), hintGreeting(err, p.Relay.Relay))
		}
		return fine(greeting.String())
	})
	p.take(ctx, "ehlo", func(ctx context.Context) finding {
		if err := p.session.Hello(ctx); err != nil {
			return failure(reason(err), hintHello)
		}
		p.check.Offer = newOffer(p.session.Offer())
		return fine("offers " + p.check.Offer.String())
	})
	if !p.ImplicitTLS() {
		p.take(ctx, "starttls", p.startTLS)
	}
}

func (p *patient) startTLS(ctx context.Context) finding {
	if !p.UseTLS {
		return warning("TLS is turned off: letters and passwords are in clear on the network",
			"Turn TLS on (SMTP_USE_TLS, smtp_use_tls) unless the relay is on this machine or the network between is trusted.")
	}
	if !p.session.Offer().StartTLS {
		return failure("the relay does not offer STARTTLS; nothing was sent in clear", hintNoStartTLS)
	}
	f := p.encrypted(p.session.StartTLS(ctx))
	if f.state != Failed {
		p.check.Offer = newOffer(p.session.Offer()) // what is offered in clear does not count
		f.detail += "; offers " + p.check.Offer.String()
	}
	return f
}

// encrypted says what came of a handshake.
func (p *patient) encrypted(err error) finding {
	if err != nil {
		p.check.TLS = refused(err)
		detail := reason(err)
		if p.check.TLS != nil && p.check.TLS.Certificate != nil {
			detail += "; " + p.check.TLS.Certificate.String()
		}
		return failure(detail, hintTLS(err, p.Relay.Relay))
	}
	state, _ := p.session.TLS()
	t := Encryption(state)
	p.check.TLS = t
	detail := fmt.Sprintf("%s, %s", t.Version, t.Cipher)
	if t.Certificate == nil {
		return fine(detail)
	}
	detail += "; " + t.Certificate.String() + ", verified"
	if left := t.Certificate.NotAfter.Sub(p.now()); left < expirySoon {
		return warning(detail, fmt.Sprintf("The relay's certificate ends in %d days: have it renewed, or mail stops then.", int(left.Hours()/24)))
	}
	return fine(detail)
}

func (p *patient) authenticate(ctx context.Context) finding {
	if p.Username == "" {
		return skip("no user name is given, so none is shown to the relay")
	}
	mechanism, err := p.session.Authenticate(ctx)
	if err != nil {
		detail := reason(err)
		if mechanism != "" {
			detail = "AUTH " + mechanism + ": " + detail
		}
		return failure(detail, hintAuth(err))
	}
	return fine("AUTH " + mechanism + " accepted")
}

// size compares what the relay takes with what may be sent.
func (p *patient) size(context.Context) finding {
	limit := p.session.Offer().MaxSize
	largest := encodedBytes(p.MaxAttachmentBytes)
	switch {
	case limit == 0:
		return fine("the relay states no limit")
	case p.LetterBytes > limit:
		return failure(fmt.Sprintf("the relay takes messages of at most %d octets, and this letter has %d", limit, p.LetterBytes), hintSize)
	case largest > limit:
		return warning(fmt.Sprintf("the relay takes messages of at most %d octets; attachments of MAX_ATTACHMENT_BYTES (%d octets) have %d as base64",
			limit, p.MaxAttachmentBytes, largest), hintSize)
	default:
		return fine(fmt.Sprintf("the relay takes messages of at most %d octets", limit))
	}
}

// encodedBytes is the size of n octets as base64 in lines of 76 (RFC 2045
// 6.8): 57 octets make a line of 78 with its end.
func encodedBytes(n int64) int64 { return (n + 56) / 57 * 78 }

func (p *patient) mailFrom(ctx context.Context) finding {
	if p.From == "" {
		return skip("not asked for (no sender was given)")
	}
	if err := campaign.CheckAddress(p.From); err != nil {
		return failure("the sender's address "+err.Error(), "Give an address such as news@example.org.")
	}
	reply, err := p.session.MailFrom(ctx, p.From, p.LetterBytes)
	if err != nil {
		return failure(reason(err), hintMail(err))
	}
	return fine(reply.String())
}

func (p *patient) rcptTo(ctx context.Context) finding {
	if p.To == "" || p.From == "" {
		return p.calledOff(ctx, skip("not asked for (no recipient was given, or no sender)"))
	}
	if err := campaign.CheckAddress(p.To); err != nil {
		return p.calledOff(ctx, failure("the recipient's address "+err.Error(), "Give an address such as you@example.org."))
	}
	reply, err := p.session.RcptTo(ctx, p.To)
	if err != nil {
		return p.calledOff(ctx, failure(reason(err), hintRcpt))
	}
	return p.calledOff(ctx, fine(reply.String()+"; no message was sent"))
}

// calledOff resets the envelope, where there is one. What the relay makes of
// that is of no interest: the session ends here.
func (p *patient) calledOff(ctx context.Context, f finding) finding {
	if p.From != "" {
		_ = p.session.Reset(ctx)
	}
	return f
}

// reason is what went wrong, without the stage: the step has a name.
func reason(err error) string {
	if e, is := errors.AsType[*mailer.Error](err); is {
		return e.Reply()
	}
	return err.Error()
}

func joined(addresses []netip.Addr) string {
	parts := make([]string, len(addresses))
	for i, a := range addresses {
		parts[i] = a.Unmap().String()
	}
	return strings.Join(parts, ", ")
}
