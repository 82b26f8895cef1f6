package mailer

import "strings"

// Reply codes that mean more than their first digit.
const (
	codeShuttingDown     = 421 // RFC 5321: closing the connection
	codeTooMany          = 432 // 4.3.2 of Exchange Online: too many connections
	codeStorage          = 452 // too many recipients or no space
	codeUnavailable      = 454 // RFC 3207, RFC 4954; SES: a rate limit
	codeBadSequence      = 503 // RFC 5321: bad sequence of commands
	codeAuthRequired     = 530 // RFC 4954
	codeAuthTooWeak      = 534 // RFC 4954
	codeAuthInvalid      = 535 // RFC 4954
	codeEncryptionNeeded = 538 // RFC 4954
	codeTooLarge         = 552 // at RCPT: mailbox full, which 452 should say
)

// verdict is what a refusal means: whom it concerns, and whether it may pass.
type verdict struct {
	scope     Scope
	temporary bool
}

// classify makes an Error of a reply that is not the positive one that the
// stage asks for. It is a function of its arguments alone.
func classify(stage Stage, r Reply) *Error {
	v := judge(stage, r.Code, r.Enhanced)
	return &Error{
		Stage: stage, Scope: v.scope, Code: r.Code, Enhanced: r.Enhanced, Text: r.Text,
		Temporary: v.temporary,
		// A reply to the dot that means neither yes nor no leaves it open
		// whether the relay has the message.
		Ambiguous: stage == StageDot && r.Code < 400,
	}
}

func judge(stage Stage, code int, enhanced string) verdict {
	switch code {
	case codeShuttingDown:
		return verdict{ScopeSession, true}
	case codeTooMany, codeUnavailable:
		if stage == StageRcpt { // 454 4.7.1 Relay access denied, of Postfix
			return verdict{ScopeRecipient, true}
		}
		return verdict{ScopeRelay, true}
	case codeAuthRequired, codeAuthTooWeak, codeAuthInvalid, codeEncryptionNeeded:
		return verdict{ScopeCampaign, false}
	}
	switch {
	case code < 400: // out of step, such as 250 to DATA
		return verdict{ScopeSession, true}
	case stage == StageGreeting || stage == StageHello:
		// Even 554: a relay that turns this client away may take it tomorrow
		// or from another address, and nothing is said about any recipient.
		return verdict{ScopeRelay, true}
	case stage == StageTLS || stage == StageAuth:
		if code < 500 {
			return verdict{ScopeRelay, true}
		}
		return verdict{ScopeCampaign, false}
	case stage == StageMail && code != codeTooLarge:
		return judgeMail(code, enhanced)
	default:
		mailboxFull := code == codeTooLarge && stage == StageRcpt
		return verdict{ScopeRecipient, code < 500 || mailboxFull}
	}
}

// judgeMail is judge for MAIL, which names the sender only: what is permanent
// would be so for all messages of the campaign.
func judgeMail(code int, enhanced string) verdict {
	switch {
	case code >= 500:
		return verdict{ScopeCampaign, false}
	case code == codeStorage || strings.HasPrefix(enhanced, "4.3."):
		// The mail system's own trouble (RFC 3463 3.4), for whatever message.
		return verdict{ScopeRelay, true}
	default:
		// Campaigns with another sender do not suffer.
		return verdict{ScopeRecipient, true}
	}
}
