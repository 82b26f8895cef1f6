package app_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postern/internal/app"
	"postern/internal/client"
	"postern/internal/config"
	"postern/internal/mailer/smtptest"
	"postern/internal/seal"
)

// vault is Secrets Manager as far as GetSecretValue goes.
type vault struct {
	mu     sync.Mutex
	values map[string]string // by the ARN
	asked  int
}

const (
	passwordARN = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:postern/smtp-AbCdEf"
	keyARN      = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:postern/keys-AbCdEf"
)

// openVault starts a vault and has the SDK find it. It changes the process's
// environment, so the test must not be parallel.
func openVault(t *testing.T, values map[string]string) *vault {
	t.Helper()
	v := &vault{values: values}
	server := httptest.NewServer(v)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	return v
}

func (v *vault) put(arn, value string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.values[arn] = value
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct{ SecretId string } //nolint:revive // var-naming: as the protocol has it
	_ = json.NewDecoder(r.Body).Decode(&in)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	value, ok := v.values[in.SecretId]
	if !ok {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": "AccessDeniedException", "message": "not authorized"})
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"ARN": in.SecretId, "SecretString": value})
}

// TestPasswordChangesWhileRunning holds that a default password that the relay
// refuses is read again where it is kept, and that the campaign goes on by
// itself with the new one.
func TestPasswordChangesWhileRunning(t *testing.T) { //nolint:paralleltest // openVault sets the environment
	v := openVault(t, map[string]string{passwordARN: `{"password":"changed since\n"}`})
	relay := startRelay(t, relayConfig())
	env := relayEnv(t, relay)
	delete(env, "SMTP_PASSWORD")
	env["SMTP_PASSWORD_REF"] = passwordARN + "#password"
	s := start(t, embedded(t), env)
	s.importContacts(t, addresses(20))

	v.put(passwordARN, `{"password":"correct horse\n"}`)
	if final := s.follow(t, s.submit(t, simpleLetter()), relay); final.Status != "completed" || final.Sent != 20 {
		t.Errorf("ended as %+v", final)
	}
	if n := relay.Stats().AuthFailures; n != 1 {
		t.Errorf("%d tries with the old password; one was expected", n)
	}
	if v.asked != 2 {
		t.Errorf("the password was read %d times; want once at the start and once when it was refused", v.asked)
	}
}

// TestPasswordMended: a password that is mended where it is kept, right behind
// its last reading, is used by the campaign that is taken up again.
func TestPasswordMended(t *testing.T) { //nolint:paralleltest // openVault sets the environment
	v := openVault(t, map[string]string{passwordARN: "wrong"})
	relay := startRelay(t, relayConfig())
	env := relayEnv(t, relay)
	delete(env, "SMTP_PASSWORD")
	env["SMTP_PASSWORD_REF"] = passwordARN
	s := start(t, embedded(t), env)
	s.importContacts(t, addresses(20))
	id := s.submit(t, simpleLetter())
	if rests := s.follow(t, id, relay); rests.Status != "paused" {
		t.Fatalf("rests as %+v; want paused", rests)
	}
	if check := s.check(t, nil); check.OK {
		t.Error("the relay check found the wrong password good")
	}
	v.put(passwordARN, "correct horse")
	if _, err := s.Resume(t.Context(), id, client.Relay{}); err != nil {
		t.Fatal(err)
	}
	if final := s.follow(t, id, relay); final.Status != "completed" || final.Sent != 20 {
		t.Errorf("ended as %+v", final)
	}
	if n := relay.Stats().AuthFailures; n != 2 {
		t.Errorf("%d refusals; want one of the campaign and one of the check", n)
	}
	if v.asked > 4 {
		t.Errorf("the password was read %d times; want once at the start, when it was refused, for the check and for the resumption at most", v.asked)
	}
}

// TestPasswordThatStaysWrong: one that has not changed is not tried again by
// the same campaign.
func TestPasswordThatStaysWrong(t *testing.T) { //nolint:paralleltest // openVault sets the environment
	v := openVault(t, map[string]string{passwordARN: "wrong-canary"})
	relay := startRelay(t, relayConfig())
	env := relayEnv(t, relay)
	delete(env, "SMTP_PASSWORD")
	env["SMTP_PASSWORD_REF"] = passwordARN
	s := start(t, embedded(t), env)
	s.importContacts(t, addresses(20))

	for range 2 {
		final := s.follow(t, s.submit(t, simpleLetter()), relay)
		if final.Status != "paused" || !strings.Contains(final.Reason, "535") || strings.Contains(final.Reason, "canary") {
			t.Errorf("rests as %+v; want paused", final)
		}
	}
	if n := relay.Stats().AuthFailures; n != 2 {
		t.Errorf("%d tries with the wrong password; one for each campaign was expected", n)
	}
	if v.asked != 3 {
		t.Errorf("the password was read %d times; want once at the start, when it was refused, and before the next campaign", v.asked)
	}
	if strings.Contains(s.log.String(), "wrong-canary") {
		t.Error("the password is in the log")
	}
}

// TestSecretOutOfReach: a start without a secret that it needs says which
// variable, which ARN, and what to look at.
func TestSecretOutOfReach(t *testing.T) { //nolint:paralleltest // openVault sets the environment
	openVault(t, map[string]string{keyARN: "not a key"})
	relay := map[string]string{"SMTP_SERVER": "smtp.example.org", "SMTP_USERNAME": "u", "SMTP_PASSWORD_REF": passwordARN}
	for name, c := range map[string]struct {
		env  map[string]string
		says []string
	}{
		"password may not be read": {relay, []string{"SMTP_PASSWORD_REF", passwordARN, "secretsmanager:GetSecretValue"}},
		"keys that are none":       {map[string]string{"ENCRYPTION_KEY_REF": keyARN}, []string{"ENCRYPTION_KEY_REF", "base64 of 32 octets"}},
	} {
		err := startError(t, embedded(t), c.env)
		for _, says := range c.says {
			if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "not a key") {
				t.Errorf("%s: Start = %v; want an error that says %s", name, err, says)
			}
		}
	}
}

// TestKeyRotation takes a campaign with a relay password of its own through a
// change of the key: sealed with the old key, sent by a ring of both; and what
// the new key has sealed is refused without it, by the key's id.
func TestKeyRotation(t *testing.T) { //nolint:paralleltest // openVault sets the environment
	old, recent := strings.Repeat("o", config.KeyOctets), strings.Repeat("n", config.KeyOctets)
	ring := func(keys ...string) string {
		for i, key := range keys {
			keys[i] = base64.StdEncoding.EncodeToString([]byte(key))
		}
		return strings.Join(keys, ",\n")
	}
	v := openVault(t, map[string]string{keyARN: ring(old)})
	certificate, err := smtptest.NewCertificate(smtptest.CertificateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := relayConfig()
	cfg.Certificate, cfg.Addr = certificate, vacant(t)
	relay := startRelay(t, cfg)
	env := relayEnv(t, relay)
	relay.Close() // so that campaigns stay under way
	env["ENCRYPTION_KEY_REF"] = keyARN
	env["DATA_DIR"] = filepath.Join(t.TempDir(), "data")
	letter := simpleLetter()
	letter.Server, letter.Port, letter.Username, letter.Password = relay.Host(), relay.Port(), "postern", "correct horse"
	delete(env, "SMTP_SERVER")
	delete(env, "SMTP_USERNAME")
	delete(env, "SMTP_PASSWORD")

	s := start(t, env)
	s.importContacts(t, addresses(3))
	id := s.submitWithKey(t, "rotation", letter).id
	s.stopCleanly(t)

	v.put(keyARN, ring(recent, old))
	s = start(t, env)
	if got, want := s.submitWithKey(t, "rotation", letter), (replay{http.StatusAccepted, id, "true"}); got != want {
		t.Errorf("the same request behind a rotation: %+v, want %+v", got, want)
	}
	back := startRelay(t, cfg)
	if final := s.follow(t, id, back); final.Status != "completed" || final.Sent != 3 {
		t.Errorf("the campaign from before the rotation ended as %+v", final)
	}
	back.Close()
	id = s.submit(t, letter)
	s.stopCleanly(t)

	v.put(keyARN, ring(old))
	s = start(t, env)
	sealer, err := seal.New([]byte(recent))
	if err != nil {
		t.Fatal(err)
	}
	s.awaitNotice(t, id, "ENCRYPTION_KEY", fmt.Sprintf("%x", sealer.KeyID()))
}

func (s *service) stopCleanly(t *testing.T) {
	t.Helper()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}

// startError is the error of a start that should fail.
func startError(t *testing.T, envs ...map[string]string) error {
	t.Helper()
	env := map[string]string{"LISTEN_ADDR": "127.0.0.1:0", "METRICS_ADDR": "127.0.0.1:0"}
	for _, e := range envs {
		maps.Copy(env, e)
	}
	cfg, err := config.Load(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.Start(t.Context(), cfg, io.Discard)
	if err == nil {
		_ = a.Close()
	}
	return err
}

// awaitNotice waits until the campaign's notice says all of it.
func (s *service) awaitNotice(t *testing.T, id string, says ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen, err := s.Follow(ctx, id, func(st client.Status) error {
		for _, part := range says {
			if !strings.Contains(st.Notice, part) {
				return nil
			}
		}
		return errNoticed
	})
	if !errors.Is(err, errNoticed) {
		t.Fatalf("no notice that says %q: %+v, %v", says, seen, err)
	}
}
