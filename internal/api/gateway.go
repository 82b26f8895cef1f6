package api

import (
	"net/http"
	"strings"
)

// sourceVPCE is the VPC endpoint of the caller; "" when it is unknown.
func (a *api) sourceVPCE(r *http.Request) string {
	return a.gatewayHeader(r, headerSourceVPCE, isEndpointID)
}

// gatewayCaller is who the caller is to API Gateway, or "anonymous".
func (a *api) gatewayCaller(r *http.Request) string {
	if arn := a.gatewayHeader(r, headerCallerARN, isCallerARN); arn != "" {
		return "iam:" + arn
	}
	return "anonymous"
}

// gatewayHeader is the value of a header that API Gateway sets; "" where it is
// not to be trusted, is there more than once, or is not of its form.
func (a *api) gatewayHeader(r *http.Request, name string, hasForm func(string) bool) string {
	values := r.Header.Values(name)
	if a.opts.Access.EndpointIDs == nil || len(values) != 1 || !hasForm(values[0]) {
		return ""
	}
	return values[0]
}

// What the values are made of.
const (
	digits  = "0123456789"
	lower   = "abcdefghijklmnopqrstuvwxyz"
	letters = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// consists says whether text has from least to most octets, all of the set.
func consists(text, set string, least, most int) bool {
	return len(text) >= least && len(text) <= most && strings.Trim(text, set) == ""
}

// isGatewayID says whether text is like an id that API Gateway gives to a
// request.
func isGatewayID(text string) bool { return consists(text, letters+digits+"_=-", 8, 128) }

// isEndpointID says whether text is like the id of a VPC endpoint.
func isEndpointID(text string) bool {
	id, is := strings.CutPrefix(text, "vpce-")
	return is && consists(id, digits+"abcdef", 8, 40)
}

// isCallerARN says whether text is like an IAM identity as API Gateway names
// it: arn:partition:service::account:resource, without a region.
func isCallerARN(text string) bool {
	parts := strings.SplitN(text, ":", 6)
	return len(parts) == 6 && parts[0] == "arn" && consists(parts[1], lower+"-", 3, 20) &&
		(parts[2] == "iam" || parts[2] == "sts") && parts[3] == "" && consists(parts[4], digits, 12, 12) &&
		consists(parts[5], letters+digits+"+=,.@_/:-", 1, 512)
}
