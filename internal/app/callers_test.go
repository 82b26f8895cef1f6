package app_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/app"
	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/seal"
)

// tokensFile has one token that may read contacts.
func tokensFile(t *testing.T) (token, path string) {
	t.Helper()
	token, line, err := auth.Mint(auth.Order{Name: "of a test", Scopes: []auth.Scope{auth.ContactsRead}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "tokens.jsonl")
	if err := auth.Append(path, line); err != nil {
		t.Fatal(err)
	}
	return token, path
}

// TestWhoMayCall starts the service with each AUTH and calls it with and
// without what it asks for.
func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	token, file := tokensFile(t)
	const ours, other = "vpce-0a1b2c3d4e5f60718", "vpce-0a1b2c3d4e5f60719"
	bearer := "Bearer " + token
	vpc := map[string]string{"VPC_ENABLED": "true", "VPC_ENDPOINT_IDS": ours}
	type call struct {
		host, vpce, authorization string
		status                    int
	}
	for _, tt := range []struct {
		auth    string
		env     map[string]string
		warning string
		calls   []call
	}{
		{auth: "none", calls: []call{{status: 200}, {host: "rebound.example.com", status: 421}, {vpce: other, authorization: "Bearer x", status: 200}}},
		{auth: "none-insecure", warning: "none-insecure", calls: []call{{status: 200}, {host: "postern.example.com", status: 200}}},
		{auth: "vpce", env: vpc, calls: []call{{status: 403}, {vpce: other, status: 403}, {vpce: ours, status: 200}, {host: "api.example.com", vpce: ours, status: 200}}},
		{auth: "token", env: map[string]string{"API_TOKENS_FILE": file}, calls: []call{
			{status: 401}, {authorization: bearer + "0", status: 401}, {authorization: bearer, status: 200}, {vpce: ours, status: 401},
		}},
		{auth: "vpce+token", env: map[string]string{"API_TOKENS_FILE": file, "VPC_ENABLED": "true", "VPC_ENDPOINT_IDS": ours}, calls: []call{
			{status: 403}, {vpce: ours, status: 401}, {authorization: bearer, status: 403}, {vpce: other, authorization: bearer, status: 403},
			{vpce: ours, authorization: bearer, status: 200},
		}},
	} {
		t.Run(tt.auth, func(t *testing.T) {
			t.Parallel()
			s := start(t, embedded(t), tt.env, map[string]string{"AUTH": tt.auth})
			for _, c := range tt.calls {
				if got := s.get(t, "contacts", c.host, map[string]string{"X-Source-Vpce": c.vpce, "Authorization": c.authorization}); got != c.status {
					t.Errorf("%+v: %d", c, got)
				}
			}
			var ready struct{ Warnings []string }
			if err := s.Call(t.Context(), http.MethodGet, "readyz", nil, &ready); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(ready.Warnings); (len(ready.Warnings) > 0) != (tt.warning != "") || !strings.Contains(got, tt.warning) {
				t.Errorf("warnings %s", got)
			}
		})
	}
}

// TestGatewayHeaders: what API Gateway sets is believed where AUTH asks for the
// endpoint, and is anybody's invention elsewhere, whatever VPC_ENABLED says.
func TestGatewayHeaders(t *testing.T) {
	t.Parallel()
	token, file := tokensFile(t)
	const requestID = "gateway-request-0003"
	for auth, believed := range map[string]bool{"none": false, "none-insecure": false, "token": false, "vpce": true, "vpce+token": true} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"AUTH": auth, "LOG_LEVEL": "info", "VPC_ENABLED": "true"}
			if believed {
				env["VPC_ENDPOINT_IDS"] = endpoint
			}
			if strings.Contains(auth, "token") {
				env["API_TOKENS_FILE"] = file
			}
			s := start(t, embedded(t), env)
			if got := s.get(t, "contacts", "", map[string]string{
				"X-Source-Vpce": endpoint, "X-Caller-Arn": "arn:aws:iam::123456789012:user/forged", "X-Amzn-Request-Id": requestID,
				"Authorization": "Bearer " + token,
			}); got != http.StatusOK {
				t.Fatalf("GET /contacts: %d", got)
			}
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			log := s.log.String()
			if got := strings.Contains(log, requestID); got != believed {
				t.Errorf("the request's id is believed: %v", got)
			}
			if got := strings.Contains(log, "user/forged"); got != (auth == "vpce") { // a token says more
				t.Errorf("the caller's name is believed: %v", got)
			}
		})
	}
}

// get calls with headers and gives the status.
func (s *service) get(t *testing.T, path, host string, headers map[string]string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Base+"/"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for name, value := range headers {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestNoStartWithoutTokens: a list that cannot be read keeps the service from
// starting, so that it is never up with nobody's tokens.
func TestNoStartWithoutTokens(t *testing.T) {
	t.Parallel()
	_, good := tokensFile(t)
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "half": string(text[:len(text)-20]), "gone": ""} {
		path := filepath.Join(dir, name)
		if name != "gone" {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		env := embedded(t)
		env["LISTEN_ADDR"], env["METRICS_ADDR"], env["AUTH"], env["API_TOKENS_FILE"] = "127.0.0.1:0", "127.0.0.1:0", "token", path
		cfg, err := config.Load(func(name string) string { return env[name] })
		if err != nil {
			t.Fatal(err)
		}
		if a, err := app.Start(t.Context(), cfg, io.Discard); err == nil || a != nil || !strings.Contains(err.Error(), "API_TOKENS_FILE") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTokensOfASecret: the list may be a member of a secret.
//
//nolint:paralleltest // openVault changes the environment
func TestTokensOfASecret(t *testing.T) {
	const arn = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:postern/api-tokens-AbCdEf"
	token, file := tokensFile(t)
	list, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	openVault(t, map[string]string{arn: string(list)})
	env := map[string]string{"AUTH": "token", "API_TOKENS_REF": arn}
	s := start(t, embedded(t), env)
	for authorization, want := range map[string]int{"Bearer " + token: 200, "": 401} {
		if got := s.get(t, "contacts", "", map[string]string{"Authorization": authorization}); got != want {
			t.Errorf("%.20q: %d", authorization, got)
		}
	}
	env["API_TOKENS_REF"] = strings.Replace(arn, "api-tokens", "others", 1)
	if err := startError(t, embedded(t), env); err == nil || !strings.Contains(err.Error(), "API_TOKENS_REF") {
		t.Errorf("without the right to read it: %v", err)
	}
}

// TestExposedKeyIsAWarning: it does not keep the service from working.
func TestExposedKeyIsAWarning(t *testing.T) {
	t.Parallel()
	env := embedded(t)
	if _, err := seal.LoadOrCreateKeys(env["DATA_DIR"]); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(env["DATA_DIR"], "encryption.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := start(t, env)
	var ready struct{ Warnings []string }
	if err := s.Call(t.Context(), http.MethodGet, "readyz", nil, &ready); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(ready.Warnings); !strings.Contains(got, "chmod 600") || strings.Contains(got, env["DATA_DIR"]) {
		t.Errorf("warnings %s", got)
	}
}
