package api

import (
	"regexp"
	"strings"
	"testing"
)

// The forms of API Gateway's headers, said another way.
var (
	gatewayIDForm  = regexp.MustCompile(`^[A-Za-z0-9_=-]{8,128}$`)
	endpointIDForm = regexp.MustCompile(`^vpce-[0-9a-f]{8,40}$`)
	callerARNForm  = regexp.MustCompile(`^arn:[a-z-]{3,20}:(iam|sts)::[0-9]{12}:[A-Za-z0-9+=,.@_/:-]{1,512}$`)
)

func TestGatewayForms(t *testing.T) {
	t.Parallel()
	const account = "arn:aws:iam::123456789012:"
	for _, tt := range []struct {
		is   func(string) bool
		text string
		want bool
	}{
		{isGatewayID, "JKJaXmPLvHcESHA=", true},
		{isGatewayID, "1234567", false},
		{isGatewayID, strings.Repeat("x", 128), true},
		{isGatewayID, strings.Repeat("x", 129), false},
		{isGatewayID, "1234567\n", false},
		{isGatewayID, "1234 5678", false},
		{isGatewayID, "\xff1234567", false},
		{isEndpointID, "vpce-0a1b2c3d", true},
		{isEndpointID, "vpce-0a1b2c3", false},
		{isEndpointID, "vpce-" + strings.Repeat("a", 40), true},
		{isEndpointID, "vpce-" + strings.Repeat("a", 41), false},
		{isEndpointID, "vpce-0a1b2c3g", false},
		{isEndpointID, "vpce-0A1B2C3D", false},
		{isEndpointID, "0a1b2c3d4e5f", false},
		{isCallerARN, account + "root", true},
		{isCallerARN, "arn:aws-us-gov:sts::123456789012:assumed-role/mailing/ana@example.org", true},
		{isCallerARN, account + "user/a:b", true},
		{isCallerARN, account, false},
		{isCallerARN, account + strings.Repeat("r", 513), false},
		{isCallerARN, account + "root'", false},
		{isCallerARN, "arn:aws:s3::123456789012:root", false},
		{isCallerARN, "arn:aws:iam:us-east-1:123456789012:root", false},
		{isCallerARN, "arn:aws:iam::12345678901:root", false},
		{isCallerARN, "arn:AWS:iam::123456789012:root", false},
		{isCallerARN, "", false},
	} {
		if got := tt.is(tt.text); got != tt.want {
			t.Errorf("%q: %v", tt.text, got)
		}
	}
}

// FuzzGatewayForms: the checks by hand take what the expressions take.
func FuzzGatewayForms(f *testing.F) {
	for _, seed := range []string{"JKJaXmPLvHcESHA=", "vpce-0a1b2c3d", "arn:aws:iam::123456789012:root", "arn:aws:sts::123456789012:a:b\n", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for form, is := range map[*regexp.Regexp]func(string) bool{
			gatewayIDForm: isGatewayID, endpointIDForm: isEndpointID, callerARNForm: isCallerARN,
		} {
			if is(text) != form.MatchString(text) {
				t.Errorf("%q: %v by hand, but not by %s", text, is(text), form)
			}
		}
	})
}
