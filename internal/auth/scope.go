package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Scope is a part of the API that a token may be good for.
type Scope string

// The scopes. None of them has another one in it, but for Admin.
const (
	ContactsRead  Scope = "contacts:read"
	ContactsWrite Scope = "contacts:write"
	CampaignsRead Scope = "campaigns:read"
	// CampaignsSend is for sending, and for the course of what is being sent.
	CampaignsSend Scope = "campaigns:send"
	// Admin is for everything.
	Admin Scope = "admin"
)

// Scopes are all scopes.
var Scopes = []Scope{ContactsRead, ContactsWrite, CampaignsRead, CampaignsSend, Admin}

// ParseScopes reads a list with commas. At least one scope must be in it, and
// none twice.
func ParseScopes(list string) ([]Scope, error) {
	var scopes []Scope
	for name := range strings.SplitSeq(list, ",") {
		scopes = append(scopes, Scope(strings.TrimSpace(name)))
	}
	return scopes, checkScopes(scopes)
}

func checkScopes(scopes []Scope) error {
	if len(scopes) == 0 {
		return fmt.Errorf("scopes must be some of %s", names())
	}
	for i, scope := range scopes {
		if !slices.Contains(Scopes, scope) {
			return fmt.Errorf("%.40q is no scope; scopes are %s", string(scope), names())
		}
		if slices.Contains(scopes[:i], scope) {
			return fmt.Errorf("scope %s is there twice", scope)
		}
	}
	return nil
}

func names() string {
	var all []string
	for _, scope := range Scopes {
		all = append(all, string(scope))
	}
	return strings.Join(all, ", ")
}
