package api

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"postern/internal/campaign"
)

// query is a request's query string.
type query url.Values

// readQuery reads the query string whole: url.URL.Query passes over what it
// cannot read.
func readQuery(r *http.Request) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, campaign.Errorf(campaign.CodeInvalid, "the query string cannot be read")
	}
	return query(values), nil
}

// one gives a parameter that may be there once; "" where it is not.
func (q query) one(name string) (string, error) {
	switch values := q[name]; len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	default:
		return "", campaign.Invalid(name, "must be given once")
	}
}

// limit gives the parameter limit within 1 and most; 0 where it is not given.
func (q query) limit(most int) (int, error) {
	given, err := q.one("limit")
	if err != nil || given == "" {
		return 0, err
	}
	n, err := strconv.Atoi(given)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range: clamped as well
		return 0, campaign.Invalid("limit", "must be a whole number from 1 to %d", most)
	}
	return min(max(n, 1), most), nil
}
