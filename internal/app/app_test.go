package app_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/app"
	"postern/internal/config"
)

// TestStartSaysWhatIsWrong holds that a start that fails says why, and leaves
// nothing open.
func TestStartSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	data := embedded(t)
	running := start(t, data)
	taken := strings.TrimPrefix(running.Base, "http://")
	for name, c := range map[string]struct {
		env  map[string]string
		says string
	}{
		"store in use": {map[string]string{"DATA_DIR": data["DATA_DIR"], "LISTEN_ADDR": "127.0.0.1:0"}, data["DATA_DIR"]},
		"port in use":  {map[string]string{"DATA_DIR": t.TempDir(), "LISTEN_ADDR": taken}, "LISTEN_ADDR"},
		"key lost":     {map[string]string{"DATA_DIR": withoutKey(t), "LISTEN_ADDR": "127.0.0.1:0"}, "encryption key"},
		"no DynamoDB": {map[string]string{
			"STORE": "dynamodb", "DYNAMODB_ENDPOINT": "http://127.0.0.1:1", "AWS_REGION": "us-gov-west-1", "LISTEN_ADDR": "127.0.0.1:0",
			"ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
		}, "DynamoDB"},
	} {
		env := c.env
		env["METRICS_ADDR"] = "127.0.0.1:0"
		cfg, err := config.Load(func(name string) string { return env[name] })
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a, err := app.Start(t.Context(), cfg, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Start = %v; want an error that names %s", name, err, c.says)
		}
		if a != nil {
			t.Errorf("%s: an App came with the error", name)
		}
	}
}

// withoutKey is the directory of a store whose key file is gone.
func withoutKey(t *testing.T) string {
	t.Helper()
	env := embedded(t)
	if err := start(t, env).stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(env["DATA_DIR"], "encryption.key")); err != nil {
		t.Fatal(err)
	}
	return env["DATA_DIR"]
}
