package secret_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// stub speaks as much of the JSON protocols of Secrets Manager and KMS as the
// tests need, where a server made for that (moto) may not be there. A secret
// or ciphertext with "error:CODE:" in its name is answered with that error.
type stub struct {
	mu      sync.Mutex
	secrets map[string]map[string]any // by ARN
	asked   map[string]int            // by operation
}

func newStub() *stub { return &stub{secrets: map[string]map[string]any{}, asked: map[string]int{}} }

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in map[string]string
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Header.Get("Authorization") == "" {
		http.Error(w, "not a signed JSON request", http.StatusBadRequest)
		return
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[operation]++
	status, out := http.StatusOK, any(nil)
	switch operation {
	case "CreateSecret":
		out = s.create(in)
	case "GetSecretValue":
		status, out = s.value(in["SecretId"])
	case "Encrypt":
		out = map[string]string{"CiphertextBlob": base64.StdEncoding.EncodeToString([]byte("sealed " + in["Plaintext"]))}
	case "Decrypt":
		status, out = decrypted(in["CiphertextBlob"])
	default:
		status, out = refusal("UnknownOperationException")
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	if text, raw := out.(string); raw {
		_, _ = w.Write([]byte(text))
		return
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (s *stub) create(in map[string]string) any {
	arn := "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:" + in["Name"] + "-AbCdEf"
	s.secrets[arn] = map[string]any{"ARN": arn, "Name": in["Name"]}
	for _, kind := range []string{"SecretString", "SecretBinary"} {
		if value, ok := in[kind]; ok {
			s.secrets[arn][kind] = value
		}
	}
	return s.secrets[arn]
}

func (s *stub) value(arn string) (status int, out any) {
	if _, rest, ok := strings.Cut(arn, "error:"); ok {
		code, _, _ := strings.Cut(rest, ":")
		return refusal(code)
	}
	if strings.Contains(arn, "garbage") {
		return http.StatusOK, `{"SecretString":"` + canary + ``
	}
	if secret, ok := s.secrets[arn]; ok {
		return http.StatusOK, secret
	}
	return refusal("ResourceNotFoundException")
}

func decrypted(blob string) (status int, out any) {
	sealed, _ := base64.StdEncoding.DecodeString(blob)
	if _, rest, ok := strings.Cut(string(sealed), "error:"); ok {
		code, _, _ := strings.Cut(rest, ":")
		return refusal(code)
	}
	plain, ok := strings.CutPrefix(string(sealed), "sealed ")
	if !ok {
		return refusal("InvalidCiphertextException")
	}
	return http.StatusOK, map[string]string{"Plaintext": plain}
}

func refusal(code string) (status int, out any) {
	return http.StatusBadRequest, map[string]string{"__type": code, "message": fmt.Sprintf("the stub says %s", code)}
}
