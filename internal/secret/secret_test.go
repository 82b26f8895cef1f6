package secret_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"go.uber.org/goleak"

	"postern/internal/config"
	"postern/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary must be in no error.
const canary = "canary-7c1f0d"

const region = "us-gov-west-1"

// useEndpoint has the SDK find Secrets Manager and KMS at url, with
// credentials from the environment.
func useEndpoint(t *testing.T, url string) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_SECRETS_MANAGER": url, "AWS_ENDPOINT_URL_KMS": url,
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_REGION": "", "AWS_PROFILE": "",
		"AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
}

func startStub(t *testing.T) *stub {
	t.Helper()
	s := newStub()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	useEndpoint(t, server.URL)
	return s
}

// TestFetch fetches from a server of the test's own, which is always there,
// and from moto's, which is not of the test's own making, where Python has it.
func TestFetch(t *testing.T) { //nolint:paralleltest // useEndpoint sets the environment
	t.Run("stub", func(t *testing.T) {
		startStub(t)
		fetchEverything(t)
	})
	path, err := exec.LookPath("moto_server")
	if err != nil {
		_, _ = os.Stderr.WriteString("secrets were fetched from a stub only: there is no moto_server (pip install 'moto[server]')\n")
		return
	}
	t.Run("moto", func(t *testing.T) {
		useEndpoint(t, startMoto(t, path))
		fetchEverything(t)
	})
}

func startMoto(t *testing.T, path string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(path, "-H", "127.0.0.1", "-p", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for poll := time.NewTicker(100 * time.Millisecond); ; {
		if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr); err == nil {
			_ = c.Close()
			poll.Stop()
			return "http://" + addr
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatal("moto_server does not listen")
		}
	}
}

// fetchEverything puts secrets where the endpoint is, and fetches them.
func fetchEverything(t *testing.T) {
	t.Helper()
	text, binary := create(t, "text", aws.String(canary+"\n"), nil), create(t, "binary", nil, []byte{0, 1, 0xff})
	object := create(t, "object", aws.String(`{"password":"`+canary+`","user":"postern","port":587}`), nil)
	sealed := encrypt(t, []byte(canary))
	client := secret.New(region)
	for name, c := range map[string]struct {
		ref  string
		want string
		says string // of the error; "" for none
	}{
		"text, as it is":            {ref: text, want: canary + "\n"},
		"octets":                    {ref: binary, want: "\x00\x01\xff"},
		"a member":                  {ref: object + "#password", want: canary},
		"a member that is not text": {ref: object + "#port", says: "port that is not a string"},
		"a member that is missing":  {ref: object + "#token", says: "no member token"},
		"a member of what has none": {ref: text + "#password", says: "not a JSON object"},
		"what KMS has encrypted":    {ref: sealed, want: canary},
		"what it has not":           {ref: "kms:" + base64.StdEncoding.EncodeToString([]byte("nonsense that is long enough to be something")), says: "InvalidCiphertextException"},
		"no such secret":            {ref: strings.Replace(text, "text", "none", 1), says: "ResourceNotFoundException"},
	} {
		got, err := client.Fetch(t.Context(), config.SecretRef(c.ref))
		if string(got) != c.want || (err == nil) != (c.says == "") {
			t.Errorf("%s: Fetch(%s) = %q, %v; want %q", name, c.ref, got, err, c.want)
		}
		if err != nil {
			checkError(t, err, c.says)
		}
	}
}

func checkError(t *testing.T, err error, says string) {
	t.Helper()
	if _, ok := errors.AsType[*secret.Error](err); !ok || !strings.Contains(err.Error(), says) {
		t.Errorf("the error %q does not say %q", err, says)
	}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		if strings.Contains(cause.Error(), canary) {
			t.Errorf("the error contains the secret: %v", cause)
		}
	}
}

func create(t *testing.T, name string, text *string, octets []byte) (arn string) {
	t.Helper()
	out, err := secretsmanager.NewFromConfig(sdk(t)).CreateSecret(t.Context(),
		&secretsmanager.CreateSecretInput{Name: aws.String("postern/" + name), SecretString: text, SecretBinary: octets})
	if err != nil {
		t.Fatal(err)
	}
	return *out.ARN
}

func encrypt(t *testing.T, plain []byte) (ref string) {
	t.Helper()
	client := kms.NewFromConfig(sdk(t))
	key := "alias/postern"
	if out, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{}); err == nil { // the stub has one key, and no name for it
		key = *out.KeyMetadata.KeyId
	}
	out, err := client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: aws.String(key), Plaintext: plain})
	if err != nil {
		t.Fatal(err)
	}
	return "kms:" + base64.StdEncoding.EncodeToString(out.CiphertextBlob)
}

func sdk(t *testing.T) aws.Config {
	t.Helper()
	cfg, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithRegion(region),
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true })))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestRefusals holds that each refusal says which secret it is about and what
// to look at.
func TestRefusals(t *testing.T) { //nolint:paralleltest // useEndpoint sets the environment
	startStub(t)
	client := secret.New(region)
	const prefix = "arn:aws-us-gov:secretsmanager:us-gov-east-1:123456789012:secret:postern/error:"
	for name, c := range map[string]struct {
		ref  string
		says []string
	}{
		"access denied":  {prefix + "AccessDeniedException:", []string{prefix, "secretsmanager:GetSecretValue", "task's role", "VPC endpoint", "kms:Decrypt"}},
		"key disabled":   {prefix + "DecryptionFailure:", []string{prefix, "KMS key"}},
		"being deleted":  {prefix + "InvalidRequestException:", []string{prefix, "deletion"}},
		"credentials":    {prefix + "ExpiredTokenException:", []string{prefix, "credentials"}},
		"something else": {prefix + "TeapotException:", []string{prefix, "TeapotException", "us-gov-east-1"}},
		"garbage":        {strings.Replace(prefix, "error:", "garbage", 1), []string{"cannot be read"}},
		"KMS access":     {kmsError("AccessDeniedException"), []string{"kms:", "kms:Decrypt", "task's role", "the key's own policy"}},
		"KMS region":     {kmsError("NotFoundException"), []string{"AWS_REGION"}},
		"KMS disabled":   {kmsError("DisabledException"), []string{"state of its KMS key"}},
	} {
		value, err := client.Fetch(t.Context(), config.SecretRef(c.ref))
		if err == nil || value != nil {
			t.Errorf("%s: Fetch = %q, %v; want an error and no value", name, value, err)
			continue
		}
		for _, says := range c.says {
			checkError(t, err, says)
		}
	}
}

func kmsError(code string) string {
	return "kms:" + base64.StdEncoding.EncodeToString([]byte("error:"+code+":"))
}

// TestOutOfReach holds that a secret that nobody answers for is given up, and
// that the error says where to look.
func TestOutOfReach(t *testing.T) { //nolint:paralleltest // useEndpoint sets the environment
	const arn = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:postern/x-AbCdEf"
	useEndpoint(t, "http://127.0.0.1:1")
	_, err := secret.New("").Fetch(t.Context(), arn)
	if err == nil {
		t.Fatal("fetched from nowhere")
	}
	checkError(t, err, "com.amazonaws.us-gov-west-1.secretsmanager")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = secret.New("").Fetch(ctx, arn); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}

// TestNothingToAskWith: without credentials or a region nobody is asked.
func TestNothingToAskWith(t *testing.T) {
	s := startStub(t)
	_, err := secret.New("").Fetch(t.Context(), config.SecretRef(kmsError("any")))
	if err == nil {
		t.Fatal("KMS was asked in no region")
	}
	checkError(t, err, "AWS_REGION")

	none := t.TempDir() + "/none"
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_CONFIG_FILE", none)
	_, err = secret.New(region).Fetch(t.Context(), "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:postern/x-AbCdEf")
	if err == nil {
		t.Fatal("fetched without credentials")
	}
	checkError(t, err, "no AWS credentials")
	if len(s.asked) > 0 {
		t.Errorf("the stub was asked %v", s.asked)
	}
}
