package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"postern/internal/auth"
	"postern/internal/campaign"
)

// headerToken carries a token where Authorization carries something else, such
// as the signature that API Gateway checks.
const headerToken = "X-Api-Token" //nolint:gosec // G101: a name, and no token

// Access says who may call. The zero value lets everybody in.
type Access struct {
	// Tokens checks the tokens that callers present; nil where they need none.
	Tokens Tokens
	// EndpointIDs are the VPC endpoints through which callers may come; nil
	// where that is not asked. Where it is, API Gateway alone reaches the service,
	// and its headers are trusted; nowhere else.
	EndpointIDs []string
	// LocalNames: callers need nothing, because only this machine reaches the
	// listener, and must name it by an IP address or as localhost. Otherwise a
	// page on the internet whose name is made to resolve to 127.0.0.1 (DNS
	// rebinding) could call the API through a browser on this machine.
	LocalNames bool
}

// Tokens checks a token that a caller presents. Its errors are auth.ErrInvalid,
// and auth.ErrExpired beside the token that was good once.
type Tokens interface {
	Check(presented string) (auth.Token, error)
}

// scopes has the scopes that each route needs, all of them, where tokens are
// asked for. A route that is neither here nor open is closed to every token.
var scopes = map[string][]auth.Scope{
	"POST /smtp-campaign":                     {auth.CampaignsSend},
	"GET /campaign-status/{campaign_id}":      {auth.CampaignsRead},
	"GET /campaigns":                          {auth.CampaignsRead},
	"GET /campaigns/{campaign_id}":            {auth.CampaignsRead},
	"GET /campaigns/{campaign_id}/deliveries": {auth.CampaignsRead},
	"GET /campaigns/{campaign_id}/audit":      {auth.CampaignsRead},
	"GET /audit/key":                          {auth.CampaignsRead},
	"POST /campaigns/{campaign_id}/pause":     {auth.CampaignsSend},
	"POST /campaigns/{campaign_id}/resume":    {auth.CampaignsSend},
	"POST /campaigns/{campaign_id}/cancel":    {auth.CampaignsSend},
	"POST /campaigns/{campaign_id}/retry":     {auth.CampaignsSend},
	"POST /relays/check":                      {auth.CampaignsSend},
	"GET /network":                            {auth.CampaignsRead},
	"GET /contacts":                           {auth.ContactsRead},
	"POST /contacts":                          {auth.ContactsWrite},
	"PUT /contacts":                           {auth.ContactsWrite},
	"DELETE /contacts":                        {auth.ContactsWrite},
	"GET /contacts/{email}/data":              {auth.ContactsRead, auth.CampaignsRead},
	"DELETE /contacts/{email}/data":           {auth.ContactsWrite},
}

// refusal is why a call is refused, as a label of metrics and in the log.
type refusal string

// The refusals.
const (
	refusedHost      refusal = "host"
	refusedEndpoint  refusal = "vpc_endpoint"
	refusedAmbiguous refusal = "ambiguous_token"
	refusedMissing   refusal = "no_token"
	refusedInvalid   refusal = "invalid_token"
	refusedExpired   refusal = "expired_token"
	refusedScope     refusal = "insufficient_scope"
)

var refusals = []refusal{
	refusedHost, refusedEndpoint, refusedAmbiguous, refusedMissing, refusedInvalid, refusedExpired, refusedScope,
}

// authenticate lets a request through whose caller may call at all, and puts the
// caller into its context. It stands around handlers and not in front of the
// router, so that what it decides on is what will run.
func (a *api) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access := a.opts.Access
		if access.LocalNames && !LocalName(r.Host) {
			a.refuse(w, r, refusedHost, httpErrorf(http.StatusMisdirectedRequest,
				"this service answers on this machine only; call it by 127.0.0.1, [::1] or localhost"))
			return
		}
		vpce := a.sourceVPCE(r)
		if access.EndpointIDs != nil && !slices.Contains(access.EndpointIDs, vpce) {
			a.refuse(w, r, refusedEndpoint, campaign.Errorf(campaign.CodeForbidden, "VPC access required"))
			return
		}
		actor := campaign.Actor{Name: a.gatewayCaller(r), SourceVPCE: vpce, RequestID: exchangeOf(r.Context()).id}
		if access.Tokens == nil {
			next.ServeHTTP(w, r.WithContext(a.act(r.Context(), actor)))
			return
		}
		token, ok := a.checkToken(w, r)
		if !ok {
			return
		}
		actor.Name = "token:" + token.ID
		next.ServeHTTP(w, r.WithContext(context.WithValue(a.act(r.Context(), actor), tokenKey{}, token)))
	})
}

// tokenKey is the key of a request's token in its context.
type tokenKey struct{}

// act gives a context in which the actor asks, and notes the actor for the log.
func (*api) act(ctx context.Context, actor campaign.Actor) context.Context {
	exchangeOf(ctx).actor = actor.Name
	return campaign.WithActor(ctx, actor)
}

// authorize lets a request through whose token has the scope of its route.
// authenticate stands in front of it.
func (a *api) authorize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.opts.Access.Tokens == nil {
			next.ServeHTTP(w, r)
			return
		}
		token, _ := r.Context().Value(tokenKey{}).(auth.Token) // none has no scope
		needed, listed := scopes[routeMethod(r)+" "+chi.RouteContext(r.Context()).RoutePattern()]
		if !listed {
			needed = []auth.Scope{auth.Admin}
		}
		if !token.Allows(needed...) {
			names := scopeList(needed)
			w.Header().Set("WWW-Authenticate", challenge+`, error="insufficient_scope", scope="`+names+`"`)
			a.refuse(w, r, refusedScope, httpErrorf(http.StatusForbidden, "this call needs a token with the scope %s",
				strings.ReplaceAll(names, " ", " and ")))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// scopeList writes scopes as RFC 6750 section 3 does.
func scopeList(scopes []auth.Scope) string {
	names := make([]string, len(scopes))
	for i, scope := range scopes {
		names[i] = string(scope)
	}
	return strings.Join(names, " ")
}

// routeMethod is the method that the router went by: HEAD is served by GET's
// route.
func routeMethod(r *http.Request) string {
	if r.Method == http.MethodHead {
		return http.MethodGet
	}
	return r.Method
}

// challenge is what WWW-Authenticate begins with (RFC 6750 section 3).
const challenge = `Bearer realm="postern"`

// checkToken finds the request's token, or answers that there is none that is
// good.
func (a *api) checkToken(w http.ResponseWriter, r *http.Request) (auth.Token, bool) {
	presented, found, err := presentedToken(r.Header)
	if err != nil {
		w.Header().Set("WWW-Authenticate", challenge+`, error="invalid_request"`)
		a.refuse(w, r, refusedAmbiguous, err)
		return auth.Token{}, false
	}
	if !found {
		w.Header().Set("WWW-Authenticate", challenge)
		a.refuse(w, r, refusedMissing, httpErrorf(http.StatusUnauthorized,
			"this call needs a token, in Authorization: Bearer or in %s", headerToken))
		return auth.Token{}, false
	}
	token, err := a.opts.Access.Tokens.Check(presented)
	if err == nil {
		return token, true
	}
	reason := refusedInvalid
	if errors.Is(err, auth.ErrExpired) {
		reason = refusedExpired
		exchangeOf(r.Context()).actor = "token:" + token.ID // it was the right one
	}
	w.Header().Set("WWW-Authenticate", challenge+`, error="invalid_token"`)
	a.refuse(w, r, reason, httpErrorf(http.StatusUnauthorized, "the token is not valid, or has expired"))
	return auth.Token{}, false
}

// presentedToken finds the one token of a request. Two of them are an error,
// even the same one twice (RFC 6750 section 2).
func presentedToken(h http.Header) (token string, found bool, err error) {
	authorizations := h.Values("Authorization")
	if len(authorizations) > 1 {
		return "", false, httpErrorf(http.StatusBadRequest, "the header Authorization must not be there twice")
	}
	presented := slices.Clone(h.Values(headerToken))
	for _, value := range authorizations {
		// Other schemes are not for this service: API Gateway's, for one.
		if scheme, bearer, _ := strings.Cut(value, " "); strings.EqualFold(scheme, "Bearer") {
			presented = append(presented, strings.TrimLeft(bearer, " "))
		}
	}
	switch len(presented) {
	case 0:
		return "", false, nil
	case 1:
		return presented[0], true, nil
	default:
		return "", false, httpErrorf(http.StatusBadRequest, "one token is enough: in Authorization: Bearer or in %s", headerToken)
	}
}

// refuse answers that the caller may not do this, counts it, and has it in the
// log.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, reason refusal, err error) {
	exchangeOf(r.Context()).refused = reason
	a.metrics.refused.WithLabelValues(string(reason)).Inc()
	a.fail(w, r, err)
}

// LocalName says whether a request's host is an IP address or localhost, which
// nobody can make resolve to something else.
func LocalName(host string) bool {
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name = host[:i]
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	_, err := netip.ParseAddr(name)
	return err == nil || strings.EqualFold(name, "localhost")
}
