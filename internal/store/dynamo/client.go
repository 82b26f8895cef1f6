package dynamo

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"postern/internal/campaign"
)

// Bounds of one attempt of one call. The call as a whole is bounded by its
// context and by attempts.
const (
	dialTimeout    = 2 * time.Second
	attemptTimeout = 5 * time.Second
	attempts       = 8
)

// idleConnections is above what a task has in flight (workers' checkpoints,
// leases, fan-out), so that connections are reused and not dialled again.
const idleConnections = 64

// newClient makes the client, and a function that closes its idle connections.
func newClient(ctx context.Context, c Config) (*dynamodb.Client, func(), error) {
	options := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithHTTPClient(newHTTPClient()),
		awsconfig.WithRetryer(newRetryer),
	}
	if c.Region != "" {
		options = append(options, awsconfig.WithRegion(c.Region))
	}
	local, err := withoutCredentials(c)
	if err != nil {
		return nil, nil, err
	}
	if local {
		static := credentials.NewStaticCredentialsProvider("local", "local", "")
		options = append(options, awsconfig.WithCredentialsProvider(static), awsconfig.WithDefaultRegion("us-east-1"))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, nil, campaign.Wrap(campaign.CodeUnavailable, err, "the AWS configuration cannot be loaded")
	}
	if cfg.Region == "" {
		return nil, nil, campaign.Errorf(campaign.CodeUnavailable, "no AWS region is set; set AWS_REGION")
	}
	web, closeIdle := ownTransport(cfg.HTTPClient)
	measured := newMetrics(c.Registerer, c.TablePrefix)
	return dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		o.HTTPClient = web
		o.APIOptions = append(o.APIOptions, measured.install)
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
			// DynamoDB Local sends no checksum with errors, which the SDK takes
			// for a wrong one (aws-sdk-go-v2 issue 3545).
			o.DisableValidateResponseChecksum = true
		}
	}), closeIdle, nil
}

// withoutCredentials says whether an endpoint such as DynamoDB Local is to be
// used and the environment names no credentials for it.
func withoutCredentials(c Config) (bool, error) {
	if c.Endpoint == "" {
		return false, nil
	}
	env, err := awsconfig.NewEnvConfig()
	if err != nil {
		return false, campaign.Wrap(campaign.CodeUnavailable, err, "the AWS configuration cannot be loaded")
	}
	named := env.Credentials.HasKeys() || env.SharedConfigProfile != "" || env.WebIdentityTokenFilePath != "" ||
		env.ContainerCredentialsEndpoint != "" || env.ContainerCredentialsRelativePath != ""
	return !named, nil
}

// newRetryer is the SDK's standard mode, on purpose: adaptive mode slows every
// call of a client down when one kind is throttled, and a lease that is not
// renewed in time because checkpoints are throttled is lost. The first waits
// are shorter than the SDK's, which are about a second and made for services
// that answer less promptly than DynamoDB.
func newRetryer() aws.Retryer {
	standard := retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			return jitter(attempt), nil
		})
	})
	// A plain write that meets a transaction on its item; the SDK does not
	// retry it by itself.
	return retry.AddWithErrorCodes(standard, "TransactionConflictException")
}

// newHTTPClient is of the SDK's own kind, so that the configuration can add to
// it (AWS_CA_BUNDLE).
func newHTTPClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTimeout(attemptTimeout).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = dialTimeout
			t.MaxIdleConns, t.MaxIdleConnsPerHost = idleConnections, idleConnections
		})
}

// ownTransport gives an HTTP client over the transport as the configuration
// left it. The SDK's own client does not let go of idle connections.
func ownTransport(web aws.HTTPClient) (aws.HTTPClient, func()) {
	buildable, is := web.(*awshttp.BuildableClient)
	if !is {
		return web, func() {}
	}
	transport := buildable.GetTransport()
	return &http.Client{
		Transport: transport, Timeout: buildable.GetTimeout(),
		// An API does not redirect; following would send signed requests elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, transport.CloseIdleConnections
}
