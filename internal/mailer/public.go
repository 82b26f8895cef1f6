package mailer

import (
	"fmt"
	"slices"
	"strings"
)

// Public is Error without what the relay wrote once it had been told of people:
// from MAIL on, stage, reply code and enhanced status code, with words of our
// own for them. What it says before, as of credentials, is on a connection on
// which nobody was named, and stays. It is for what outlasts an erasure.
func (e *Error) Public() string {
	before := []Stage{StageDial, StageGreeting, StageHello, StageTLS, StageAuth}
	if e.Code == 0 || slices.Contains(before, e.Stage) {
		return e.Error()
	}
	codes := strings.TrimSpace(fmt.Sprintf("%d %s", e.Code, e.Enhanced))
	return fmt.Sprintf("%s: %s (%s)", e.Stage, codes, e.meaning())
}

// meaning is what the codes say: the enhanced one where it is known, or its
// subject.
func (e *Error) meaning() string {
	_, detail, _ := strings.Cut(e.Enhanced, ".")
	subject, _, _ := strings.Cut(detail, ".")
	for _, known := range []string{statusMeanings[detail], subjectMeanings[subject], codeMeanings[e.Code]} {
		if known != "" {
			return known
		}
	}
	return "the relay gives no other reason"
}

// statusMeanings are those of RFC 3463 section 3, of RFC 5248's registry what
// relays say often.
var statusMeanings = map[string]string{
	"1.0": "something about an address", "1.1": "no such mailbox", "1.2": "no such system of the recipient",
	"1.3": "bad address of the recipient", "1.4": "ambiguous address of the recipient", "1.6": "the mailbox has moved",
	"1.7": "bad address of the sender", "1.8": "no such system of the sender", "1.10": "the recipient's domain takes no mail",
	"2.0": "something about the mailbox", "2.1": "the mailbox is disabled", "2.2": "the mailbox is full",
	"2.3": "the message is too long for the mailbox", "2.4": "trouble with a mailing list",
	"3.0": "something about the mail system", "3.1": "the mail system is full", "3.2": "the mail system takes no messages now",
	"3.3": "the mail system lacks a feature", "3.4": "the message is too big for the mail system", "3.5": "the mail system is misconfigured",
	"4.0": "something about the network", "4.1": "no answer from the host", "4.2": "bad connection", "4.3": "a directory failed",
	"4.4": "no route", "4.5": "congestion of the mail system", "4.6": "a loop of mail", "4.7": "too late to be delivered",
	"5.0": "something about the protocol", "5.1": "invalid command", "5.2": "syntax error", "5.3": "too many recipients",
	"5.4": "invalid arguments of a command", "5.5": "wrong version of the protocol",
	"6.0": "something about the message's content", "6.1": "a medium that is not supported", "6.3": "a conversion that is not supported",
	"7.0": "something about security or policy", "7.1": "not authorized, by the relay's policy", "7.8": "credentials refused",
	"7.9": "too weak a way to authenticate", "7.11": "encryption required", "7.23": "SPF failed", "7.26": "SPF and DKIM failed",
}

// subjectMeanings are those of RFC 3463 section 2.
var subjectMeanings = map[string]string{
	"1": "something about an address", "2": "something about the mailbox", "3": "something about the mail system",
	"4": "something about the network", "5": "something about the protocol", "6": "something about the message's content",
	"7": "something about security or policy",
}

// codeMeanings are those of RFC 5321 section 4.2.3 and RFC 4954 section 6.
var codeMeanings = map[int]string{
	codeShuttingDown: "the relay closes the connection", codeTooMany: "too many connections", 450: "the mailbox is not available now",
	451: "an error of the relay", codeStorage: "too little storage", codeUnavailable: "not available now",
	455: "parameters refused for now", 500: "unknown command", 501: "bad arguments of a command", 502: "a command that is not there",
	codeBadSequence: "a command out of sequence", 504: "a parameter that is not there", codeAuthRequired: "authentication required",
	codeAuthTooWeak: "too weak a way to authenticate", codeAuthInvalid: "credentials refused", codeEncryptionNeeded: "encryption required",
	550: "the mailbox is not available, or the relay's policy", 551: "the user is not local", codeTooLarge: "too much to store",
	553: "a mailbox's name that is not allowed", 554: "the transaction failed", 555: "parameters refused",
}
