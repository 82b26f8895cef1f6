package mailer

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func readOne(octets string) (Reply, error) {
	r, err := newReplyReader(bufio.NewReaderSize(strings.NewReader(octets), readBuffer)).read()
	return r.reply(), err
}

func TestReadReply(t *testing.T) {
	t.Parallel()
	for octets, want := range map[string]Reply{
		"250 OK\r\n":                     {Code: 250, Text: "OK"},
		"250\r\n":                        {Code: 250},
		"250 \r\n":                       {Code: 250},
		"250 OK\n":                       {Code: 250, Text: "OK"},
		"220-a\r\n220-\r\n220 c\r\nnext": {Code: 220, Text: "a  c"},
		"550 5.1.1 no such user\r\n":     {Code: 550, Enhanced: "5.1.1", Text: "no such user"},
		"550-5.7.26 first\r\n550-5.7.26 second\r\n550 5.7.26 third\r\n": {
			Code: 550, Enhanced: "5.7.26", Text: "first second third",
		},
		"550 4.1.1 other class\r\n":      {Code: 550, Text: "4.1.1 other class"},
		"550 5.1111.1 no code\r\n":       {Code: 550, Text: "5.1111.1 no code"},
		"550 5.1. no code\r\n":           {Code: 550, Text: "5.1. no code"},
		"250 2.0.0\r\n":                  {Code: 250, Enhanced: "2.0.0"},
		"250 a\x00b\x1b[31m\x7f\xff\r\n": {Code: 250, Text: "a\ufffdb\ufffd[31m\ufffd\ufffd"},
		"250 " + strings.Repeat("ä", 300) + "\r\n": {
			Code: 250, Text: strings.Repeat("ä", 256) + "…",
		},
	} {
		if got, err := readOne(octets); err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", octets, got, err, want)
		}
	}
}

func TestReadReplyRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		octets string
		want   error
	}{
		"no code":          {"hello\r\n", errReplyMalformed},
		"empty line":       {"\r\n", errReplyMalformed},
		"code too low":     {"150 x\r\n", errReplyMalformed},
		"code too high":    {"650 x\r\n", errReplyMalformed},
		"no separator":     {"2500 x\r\n", errReplyMalformed},
		"codes differ":     {"250-a\r\n550 b\r\n", errReplyMalformed},
		"HTTP":             {"HTTP/1.1 400 Bad Request\r\n", errReplyMalformed},
		"long line":        {"250 " + strings.Repeat("x", maxReplyLine) + "\r\n", errReplyTooLong},
		"endless line":     {strings.Repeat("x", 1<<20), errReplyTooLong},
		"endless reply":    {strings.Repeat("250-x\r\n", maxReplyLines+1), errReplyTooLong},
		"end":              {"", io.EOF},
		"end in the line":  {"250 x", io.EOF},
		"end in the reply": {"250-x\r\n", io.EOF},
	} {
		if _, err := readOne(c.octets); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	longest := "250 " + strings.Repeat("x", maxReplyLine-6) + "\r\n"
	if _, err := readOne(longest); err != nil {
		t.Errorf("a line of exactly %d octets: %v", len(longest), err)
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{"250 OK\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 x\r\n", "250-x\n\n", "220\x00", "\xff\xfe"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, octets string) {
		r, err := readOne(octets)
		if err != nil {
			return
		}
		if r.Code < 200 || r.Code > 599 {
			t.Errorf("code %d", r.Code)
		}
		if !utf8.ValidString(r.Text) || len(r.Text) > maxReplyText+len("…") || strings.ContainsFunc(r.Text, unicode.IsControl) {
			t.Errorf("text %q", r.Text)
		}
		if r.Enhanced != "" && int(r.Enhanced[0]-'0') != r.Code/100 {
			t.Errorf("enhanced code %q of %d", r.Enhanced, r.Code)
		}
		_ = parseExtensions([]byte(octets))
	})
}

func TestClassify(t *testing.T) {
	t.Parallel()
	all := []Stage{StageGreeting, StageHello, StageTLS, StageAuth, StageMail, StageRcpt, StageData, StageContent, StageDot}
	notRcpt := slices.DeleteFunc(slices.Clone(all), func(s Stage) bool { return s == StageRcpt })
	transaction := []Stage{StageMail, StageRcpt, StageData, StageContent, StageDot}
	recipientTemporary := verdict{ScopeRecipient, true}
	recipientPermanent := verdict{ScopeRecipient, false}
	relayTemporary := verdict{ScopeRelay, true}
	campaignPermanent := verdict{ScopeCampaign, false}
	for name, c := range map[string]struct {
		stages []Stage
		codes  []int
		want   verdict
	}{
		"closing the connection":         {all, []int{421}, verdict{ScopeSession, true}},
		"too many connections":           {notRcpt, []int{432}, relayTemporary},
		"TLS or AUTH down, rate limit":   {notRcpt, []int{454}, relayTemporary},
		"relay access denied":            {[]Stage{StageRcpt}, []int{432, 454}, recipientTemporary},
		"credentials":                    {all, []int{530, 534, 535, 538}, campaignPermanent},
		"greylisted, busy":               {transaction[1:], []int{450, 451, 452, 455, 471}, recipientTemporary},
		"sender not taken for now":       {transaction[:1], []int{450, 451, 452, 455, 471}, relayTemporary},
		"mailbox full":                   {[]Stage{StageRcpt}, []int{552}, recipientTemporary},
		"message too large":              {[]Stage{StageMail, StageData, StageContent, StageDot}, []int{552}, recipientPermanent},
		"refused":                        {transaction[1:], []int{500, 501, 503, 550, 551, 553, 554, 555, 571}, recipientPermanent},
		"sender refused":                 {[]Stage{StageMail}, []int{500, 501, 503, 550, 551, 553, 554, 555, 571}, campaignPermanent},
		"any 5yz to AUTH":                {[]Stage{StageAuth}, []int{500, 501, 503, 504, 550, 552, 554}, campaignPermanent},
		"any 4yz to AUTH":                {[]Stage{StageAuth}, []int{450, 451}, relayTemporary},
		"STARTTLS refused":               {[]Stage{StageTLS}, []int{501, 502, 554}, campaignPermanent},
		"STARTTLS refused for now":       {[]Stage{StageTLS}, []int{451}, relayTemporary},
		"not welcome":                    {[]Stage{StageGreeting, StageHello}, []int{450, 451, 500, 550, 554}, relayTemporary},
		"out of step, so no longer sure": {all, []int{200, 220, 235, 251, 334, 354}, verdict{ScopeSession, true}},
	} {
		for _, stage := range c.stages {
			for _, code := range c.codes {
				reply := Reply{Code: code, Enhanced: "4.3.2", Text: "because"}
				want := Error{
					Stage: stage, Scope: c.want.scope, Temporary: c.want.temporary,
					Code: code, Enhanced: "4.3.2", Text: "because",
					Ambiguous: stage == StageDot && code < 400,
				}
				if got := *classify(stage, reply); got != want {
					t.Errorf("%s, %d at %s:\ngot  %+v\nwant %+v", name, code, stage, got, want)
				}
			}
		}
	}
}
