package tests

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"postern/internal/store/dynamo"
)

// module is a module of `terraform show -json`, with those below it.
type module struct {
	Resources []struct {
		Type   string
		Mode   string
		Values json.RawMessage
	}
	ChildModules []module `json:"child_modules"`
}

// of gives the values of every resource of a type, in all modules.
func of[T any](t *testing.T, m module, kind string) []T {
	t.Helper()
	var all []T
	for _, r := range m.Resources {
		if r.Type != kind || r.Mode != "managed" {
			continue
		}
		var v T
		if err := json.Unmarshal(r.Values, &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	for _, child := range m.ChildModules {
		all = append(all, of[T](t, child, kind)...)
	}
	return all
}

func readStack(t *testing.T) module {
	t.Helper()
	if *stackFile == "" {
		t.Skip("no -stack: make terraform-e2e applies one and runs this")
	}
	var shown struct {
		Values struct {
			RootModule module `json:"root_module"`
		}
	}
	readJSON(t, *stackFile, &shown)
	return shown.Values.RootModule
}

// TestStackTables: what was applied has the names and keys of dynamo.Tables.
func TestStackTables(t *testing.T) {
	t.Parallel()
	type applied struct {
		Name     string
		HashKey  string `json:"hash_key"`
		RangeKey string `json:"range_key"`
	}
	got := map[string]index{}
	for _, a := range of[applied](t, readStack(t), "aws_dynamodb_table") {
		got[a.Name] = index{a.HashKey, a.RangeKey}
	}
	want := map[string]index{}
	for _, w := range dynamo.Tables("") {
		want[*w.TableName] = keysOf(w.KeySchema)
	}
	if !maps.Equal(got, want) {
		t.Errorf("applied %v, want %v", got, want)
	}
}

// TestStackEnvironment: a task is given variables alone that the service
// reads, and none that has no place on AWS.
func TestStackEnvironment(t *testing.T) {
	t.Parallel()
	type applied struct {
		ContainerDefinitions string `json:"container_definitions"`
	}
	definitions := of[applied](t, readStack(t), "aws_ecs_task_definition")
	if len(definitions) != 1 {
		t.Fatalf("%d task definitions", len(definitions))
	}
	var containers []struct {
		Environment, Secrets []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(definitions[0].ContainerDefinitions), &containers); err != nil {
		t.Fatal(err)
	}
	for _, c := range containers {
		for _, e := range slices.Concat(c.Environment, c.Secrets) {
			if slices.Contains(notOnAWS, e.Name) || !slices.Contains(slices.Concat(variables(), notOfTheTable), e.Name) {
				t.Errorf("a task is given %s", e.Name)
			}
		}
	}
}
