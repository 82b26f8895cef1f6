package main

import (
	"context"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const moduleRoot = "../.."

// composeFile is docker-compose.yml. Decoding is strict: who adds a key there
// decides here whether the container test must heed it.
type composeFile struct {
	Hardened any                       `yaml:"x-hardened"`
	Services map[string]composeService `yaml:"services"`
	Volumes  any                       `yaml:"volumes"`
}

type composeService struct {
	Image string `yaml:"image"`
	Build *struct {
		Context string `yaml:"context"`
		Network string `yaml:"network"`
	} `yaml:"build"`
	Command         []string          `yaml:"command"`
	Environment     map[string]string `yaml:"environment"`
	Ports           []string          `yaml:"ports"`
	ReadOnly        bool              `yaml:"read_only"`
	CapDrop         []string          `yaml:"cap_drop"`
	SecurityOpt     []string          `yaml:"security_opt"`
	Tmpfs           []string          `yaml:"tmpfs"`
	StopGracePeriod time.Duration     `yaml:"stop_grace_period"`
	Healthcheck     *struct {
		Test     []string      `yaml:"test"`
		Interval time.Duration `yaml:"interval"`
		Timeout  time.Duration `yaml:"timeout"`
		Retries  int           `yaml:"retries"`
	} `yaml:"healthcheck"`
	// What the test does by itself: the order, the ends, no volumes that stay.
	DependsOn any `yaml:"depends_on"`
	Restart   any `yaml:"restart"`
	Volumes   any `yaml:"volumes"`
}

func readCompose(t *testing.T) composeFile {
	t.Helper()
	text, err := os.ReadFile(path.Join(moduleRoot, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	expanded := os.Expand(string(text), func(variable string) string {
		name, preset, _ := strings.Cut(variable, ":-")
		if value := os.Getenv(name); value != "" {
			return value
		}
		return preset
	})
	decoder := yaml.NewDecoder(strings.NewReader(expanded))
	decoder.KnownFields(true)
	var compose composeFile
	if err := decoder.Decode(&compose); err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return compose
}

// TestComposeFile: every service is hardened and published on loopback only,
// and Compose takes the file where Compose is installed.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	compose := readCompose(t)
	for _, name := range []string{"postern", "dynamodb", "mailhog"} {
		if _, ok := compose.Services[name]; !ok {
			t.Errorf("there is no service %s", name)
		}
	}
	for name, s := range compose.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not hardened: %+v", name, s)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s publishes %s, beyond loopback", name, port)
			}
		}
	}
	program := composeProgram(t.Context())
	if program == nil {
		t.Log("Compose is not installed: the file was read by this test alone")
		return
	}
	cmd := exec.CommandContext(t.Context(), program[0], append(program[1:], "config", "-q")...)
	cmd.Dir = moduleRoot
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", cmd, err, out)
	}
}

// composeProgram is the plugin where it is there, else the program of its own,
// else nil.
func composeProgram(ctx context.Context) []string {
	for _, program := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.CommandContext(ctx, program[0], append(program[1:], "version")...).Run() == nil {
			return program
		}
	}
	return nil
}
