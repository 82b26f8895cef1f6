package campaign

import (
	"context"
	"strings"
)

// Actor is who asked for something, as far as the service knows.
type Actor struct {
	// Name is a token's id ("token:7f3a..."), API Gateway's caller identity
	// ("iam:arn:..."), "anonymous" where callers need not say who they are, or
	// "service" for what a task does by itself.
	Name string
	// SourceVPCE is the VPC endpoint through which the call came; "" when
	// unknown.
	SourceVPCE string
	// RequestID is the call's, as in the log; "" for what a task does by itself.
	RequestID string
}

// Party is the name without the session of an assumed role
// (arn:aws:sts::123456789012:assumed-role/mailer/session), which may be another
// one each time that the same program asks.
func (a Actor) Party() string {
	arn, role, assumed := strings.Cut(a.Name, ":assumed-role/")
	if !assumed {
		return a.Name
	}
	role, _, _ = strings.Cut(role, "/")
	return arn + ":assumed-role/" + role
}

// Service is the actor of what a task does by itself.
var Service = Actor{Name: "service"}

type actorKey struct{}

// WithActor gives a context in which a is the one who asks.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorOf is who asks in the context: Service where nobody is named.
func ActorOf(ctx context.Context) Actor {
	if a, ok := ctx.Value(actorKey{}).(Actor); ok {
		return a
	}
	return Service
}
