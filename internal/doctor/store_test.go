package doctor

import (
	"context"
	"errors"
	"strings"
	"testing"

	"postern/internal/store"
)

func TestStore(t *testing.T) {
	t.Parallel()
	opens := func(n int, err error) Key {
		return func(context.Context) (int, error) { return n, err }
	}
	for name, tt := range map[string]struct {
		kind  StoreKind
		fault store.Fault
		key   Key
		ok    bool
		hint  string // of the trial
		state State  // of the key
	}{
		"well":                 {kind: DynamoDB, key: opens(1, nil), ok: true, state: OK},
		"nothing stored":       {kind: DynamoDB, key: opens(0, nil), ok: true, state: Skipped},
		"no store yet":         {kind: Embedded, ok: true, state: Skipped},
		"wrong key":            {kind: Embedded, key: opens(0, errors.New("a key is missing")), state: Failed},
		"no way":               {kind: DynamoDB, fault: store.FaultUnreachable, hint: "gateway endpoint", state: Skipped},
		"no permission":        {kind: DynamoDB, fault: store.FaultDenied, hint: "task role", state: Skipped},
		"no table":             {kind: DynamoDB, fault: store.FaultMissing, hint: "TABLE_PREFIX", state: Skipped},
		"no credentials":       {kind: DynamoDB, fault: store.FaultCredentials, hint: "task role", state: Skipped},
		"unknown name":         {kind: DynamoDB, fault: store.FaultUnresolved, hint: "AWS_REGION", state: Skipped},
		"throttled":            {kind: DynamoDB, fault: store.FaultBusy, hint: "CloudWatch", state: Skipped},
		"other keys":           {kind: DynamoDB, fault: store.FaultDamaged, hint: "TABLE_PREFIX", state: Skipped},
		"directory not ours":   {kind: Embedded, fault: store.FaultDenied, hint: "DATA_DIR", state: Skipped},
		"another version":      {kind: Embedded, fault: store.FaultDamaged, hint: "backup", state: Skipped},
		"the server has it":    {kind: Embedded, fault: store.FaultInUse, hint: "healthcheck", ok: true, state: Skipped},
		"a disk that is going": {kind: Embedded, fault: store.FaultUnreachable, hint: "volume", state: Skipped},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := CheckStore(t.Context(), tt.kind, []store.Trial{{Name: "it", Detail: "d", Fault: tt.fault}}, tt.key)
			first, key := c.Steps[0], c.Steps[1]
			if c.OK != tt.ok || !strings.Contains(first.Hint, tt.hint) || (tt.fault != "") != (first.Hint != "") || key.State != tt.state {
				t.Errorf("%+v", c)
			}
		})
	}
}
