// Package secret fetches secrets that the configuration names instead of
// giving: from AWS Secrets Manager (GetSecretValue), or decrypted by AWS KMS
// (Decrypt). Credentials come from the SDK's default chain, on Fargate those of
// the task's role. What is fetched is in no error.
package secret

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"postern/internal/config"
)

// Bounds of a Fetch with all its attempts, and of one attempt.
const (
	fetchTimeout   = 15 * time.Second
	attemptTimeout = 5 * time.Second
	dialTimeout    = 2 * time.Second
	attempts       = 3
	longestBackoff = time.Second
)

// Client fetches secrets. Goroutines may share it.
type Client struct {
	region string

	mu  sync.Mutex
	cfg *aws.Config // nil until it has been loaded
}

// New makes a Client. region is where KMS is asked, as what KMS has encrypted
// does not say; "" for the one of the SDK's own configuration. Secrets Manager
// is asked in the region of each ARN. Nothing is connected to before Fetch.
func New(region string) *Client { return &Client{region: region} }

// Fetch gives the secret that ref names, octet for octet as it is kept, within
// 15 s. The error is an *Error.
func (c *Client) Fetch(ctx context.Context, ref config.SecretRef) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	if sealed, ok := strings.CutPrefix(string(ref), "kms:"); ok {
		return c.decrypt(ctx, sealed)
	}
	id, member, wantsMember := strings.Cut(string(ref), "#")
	value, err := c.get(ctx, id)
	if err != nil || !wantsMember {
		return value, err
	}
	return memberOf(value, id, member)
}

func (c *Client) get(ctx context.Context, id string) ([]byte, error) {
	parsed, err := arn.Parse(id)
	if err != nil {
		return nil, &Error{Name: id, Reason: "is not the ARN of a secret"}
	}
	cfg, failure := c.ready(ctx, id)
	if failure != nil {
		return nil, failure
	}
	cfg.Region = parsed.Region
	out, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(id)})
	switch {
	case err != nil:
		return nil, explain(err, secretsManager(id, parsed.Region))
	case out.SecretString != nil:
		return []byte(*out.SecretString), nil
	default:
		return out.SecretBinary, nil
	}
}

// memberOf gives a member's string of a JSON object. Errors of the JSON decoder
// are left out: they may quote what they met.
func memberOf(value []byte, id, member string) ([]byte, error) {
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) != nil || object == nil {
		return nil, &Error{Name: id, Reason: "is not a JSON object, so it has no member " + member + ": leave #" + member + " out, or write the secret as an object"}
	}
	raw, found := object[member]
	if !found {
		return nil, &Error{Name: id, Reason: "has no member " + member}
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return nil, &Error{Name: id, Reason: "has a member " + member + " that is not a string"}
	}
	return []byte(text), nil
}

func (c *Client) decrypt(ctx context.Context, sealed string) ([]byte, error) {
	const name = "what is given behind kms:"
	octets, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return nil, &Error{Name: name, Reason: "is not base64"}
	}
	cfg, failure := c.ready(ctx, name)
	if failure != nil {
		return nil, failure
	}
	if cfg.Region == "" {
		return nil, &Error{Name: name, Reason: "needs a region to ask KMS in: set AWS_REGION"}
	}
	out, err := kms.NewFromConfig(cfg).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: octets})
	if err != nil {
		return nil, explain(err, keyService(name, cfg.Region))
	}
	return out.Plaintext, nil
}

// ready gives the SDK's configuration with credentials in it; name is what
// they are for.
func (c *Client) ready(ctx context.Context, name string) (aws.Config, *Error) {
	cfg, err := c.load(ctx)
	if err != nil {
		return cfg, &Error{Name: name, Reason: "cannot be asked for: the AWS configuration cannot be loaded", Err: err}
	}
	// Asked for here because the SDK does not tell this failure from others.
	if cfg.Credentials == nil {
		return cfg, &Error{Name: name, Reason: "cannot be asked for: there are no AWS credentials"}
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return cfg, &Error{Name: name, Reason: "cannot be asked for: there are no AWS credentials (on Fargate: does the task have a role?)", Err: err}
	}
	return cfg, nil
}

// load reads the SDK's configuration at the first call that can.
func (c *Client) load(ctx context.Context) (aws.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg != nil {
		return *c.cfg, nil
	}
	options := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithHTTPClient(newHTTPClient()),
		awsconfig.WithRetryer(newRetryer),
	}
	if c.region != "" {
		options = append(options, awsconfig.WithRegion(c.region))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, err
	}
	c.cfg = &cfg
	return cfg, nil
}

func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = attempts, longestBackoff })
}

// newHTTPClient keeps no connection: minutes pass between two calls.
func newHTTPClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTimeout(attemptTimeout).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = dialTimeout
			t.DisableKeepAlives = true
		})
}
