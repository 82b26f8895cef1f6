package doctor

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"

	"postern/internal/mailer"
)

// What to look at, in the words of whoever runs the service in its VPC.
const (
	hintRules = "Relays that are not public must be allowed by RELAY_ALLOW (host, address or network), with RELAYS=listed all must, ports by RELAY_PORTS; " +
		"some addresses, such as the metadata service's, never are."
	hintNoHost = "Check how SMTP_SERVER (smtp_server) is written. A name of a private hosted zone needs that zone to be " +
		"associated with this VPC."
	hintNoDNS = "The VPC's resolver does not answer: check that DNS support is on in the VPC (enableDnsSupport), and what its DHCP " +
		"options and any DNS firewall say."
	hintHello      = "This is a server of another kind, or it turns this client away: check SMTP_SERVER and SMTP_PORT."
	hintNoStartTLS = "Use the relay's port for TLS from the start (465), have STARTTLS turned on there, or look for a device in " +
		"between that strips it (SMTP inspection). Only SMTP_USE_TLS=false, or smtp_use_tls of a campaign, sends in clear, for a relay in a trusted network."
	hintSize = "Lower MAX_ATTACHMENT_BYTES so that campaigns are refused before they are accepted, send smaller letters, or have the " +
		"relay's limit raised."
	hintRcpt = "The relay does not take this recipient. \"Relay access denied\" means that it would take mail for its own domains only: " +
		"log in (SMTP_USERNAME), or have this network allowed there."
)

// hintTCP is about a connection that did not come about.
func hintTCP(err error, r mailer.Relay) string {
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case mailer.IsRefusal(err):
		return hintRules
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("The host answers, and nothing listens at port %d: check SMTP_PORT (587 with STARTTLS, 465 with TLS from the "+
			"start) and whether the relay runs.", r.Port)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "There is no route: check the route table of the task's subnets. A relay on the internet needs a NAT gateway " +
			"(egress_mode = \"nat\"), one in another network a peering, VPN or endpoint."
	case isNet && timeout.Timeout():
		return fmt.Sprintf("Nothing comes back, as when a firewall drops packets: check that the task's security group allows outbound "+
			"TCP %d to the relay, the network ACLs of its subnets, the relay's own firewall, and that there is a route to it "+
			"(a relay on the internet needs a NAT gateway).", r.Port)
	default:
		return fmt.Sprintf("Check that the task's security group allows outbound TCP %d, and that there is a route to the relay.", r.Port)
	}
}

// hintGreeting is about a relay that does not say 220.
func hintGreeting(err error, r mailer.Relay) string {
	e, is := errors.AsType[*mailer.Error](err)
	switch {
	case is && e.Code > 0:
		return "The relay turns this client away: check that it lets this network in (the address that it sees is the NAT gateway's or " +
			"the task's own), and its limit of connections (RELAY_MAX_CONNECTIONS)."
	case r.ImplicitTLS():
		return "TLS stands and no greeting comes: the relay is overloaded, or something in between answers in its place."
	default:
		return "The connection stands and nothing, or no SMTP, comes: a port that speaks TLS from the start (use 465 with " +
			"SMTP_USE_TLS=true), a relay that is overloaded, or a proxy or load balancer that accepts for one that is down."
	}
}

// hintTLS is about a handshake that failed.
func hintTLS(err error, r mailer.Relay) string {
	if _, is := errors.AsType[x509.UnknownAuthorityError](err); is {
		return "The relay's certificate is signed by an authority that is not trusted here: put that authority's certificate (PEM) " +
			"into the file of RELAY_CA_FILE, or as text into RELAY_CA. Where it is a public one, the relay does not send its intermediate " +
			"certificate, or a device in between opens TLS."
	}
	if _, is := errors.AsType[x509.HostnameError](err); is {
		return "The certificate is for other names: set SMTP_SERVER (smtp_server) to one of those, or have " + r.Host + " added to it."
	}
	if invalid, is := errors.AsType[x509.CertificateInvalidError](err); is && invalid.Reason == x509.Expired {
		return "The certificate is out of its time: have it renewed at the relay; and check this machine's clock."
	}
	e, is := errors.AsType[*mailer.Error](err)
	switch {
	case is && e.Code > 0:
		return "The relay offers STARTTLS and refuses it: its certificate or its TLS set-up is broken there."
	case is && e.Err == nil && !r.ImplicitTLS():
		return "Somebody between Postern and the relay may be adding commands; find out who before any mail is sent this way."
	case r.ImplicitTLS():
		return "No TLS 1.2 or later at this port: a port with STARTTLS is 587. Postern speaks nothing older than TLS 1.2."
	default:
		return "The relay has no TLS 1.2 or later, or no cipher in common: have its TLS renewed. Postern speaks nothing older than TLS 1.2."
	}
}

// hintAuth is about credentials.
func hintAuth(err error) string {
	e, is := errors.AsType[*mailer.Error](err)
	switch {
	case is && e.Code >= 500:
		return "The relay refuses the credentials: check SMTP_USERNAME and SMTP_PASSWORD. Gmail and Outlook want an app password, and " +
			"Microsoft 365 SMTP AUTH turned on for the mailbox; Amazon SES wants its SMTP credentials, which are not an access key."
	case is && e.Code >= 400:
		return "The relay cannot say now, often because of too many logins: wait, and lower RELAY_MAX_CONNECTIONS."
	case is && e.Err == nil:
		return "Log in only where the relay offers it behind TLS: check SMTP_PORT and SMTP_USE_TLS, or send without SMTP_USERNAME to a " +
			"relay that knows this network."
	default:
		return "The connection ended during the login: check the relay's log."
	}
}

// hintMail is about a sender that is refused.
func hintMail(err error) string {
	if e, is := errors.AsType[*mailer.Error](err); is && (e.Code == 530 || e.Code == 538) {
		return "The relay wants a login, or TLS, first: set SMTP_USERNAME and SMTP_PASSWORD, and SMTP_USE_TLS=true."
	}
	return "The relay does not take this sender, or this size: check that the account may send as this address, and that the relay " +
		"lets this network send (its allowed networks or domains)."
}
