package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	dockernet "github.com/moby/moby/api/types/network"
	docker "github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"
)

// Bounds of what waits for Docker.
const (
	engineWithin  = 15 * time.Second
	healthyWithin = 2 * time.Minute
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// stack is the services of docker-compose.yml, as far as they are started, on
// a network of their own.
type stack struct {
	services map[string]composeService
	network  *testcontainers.DockerNetwork
	engine   *testcontainers.DockerClient
}

// newStack skips the test where no Docker engine answers. That is the one
// reason for which this test does not run.
func newStack(ctx context.Context, t *testing.T) *stack {
	t.Helper()
	if err := engineAnswers(ctx); err != nil {
		reasons := strings.ReplaceAll(err.Error(), "\n", "; ")
		why := fmt.Sprintf("container test not run: no Docker engine answers (%s)", reasons)
		_, _ = fmt.Fprintln(os.Stderr, why)
		t.Skip(why)
	}
	s := &stack{services: readCompose(t).Services}
	var err error
	if s.engine, err = testcontainers.NewDockerClientWithOpts(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.engine.Close() })
	s.network, err = network.New(ctx)
	testcontainers.CleanupNetwork(t, s.network)
	if err != nil {
		t.Fatalf("no network: %v (where testcontainers cannot get its reaper's image: TESTCONTAINERS_RYUK_DISABLED=true)", err)
	}
	return s
}

// engineAnswers does not trust testcontainers to come back: it asks a host
// that is silent without a time-out.
func engineAnswers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engineWithin)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- askEngine(ctx) }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("nothing heard within %v", engineWithin)
	}
}

func askEngine(ctx context.Context) (err error) {
	defer func() { // testcontainers panics for some broken settings of Docker
		if r := recover(); r != nil {
			err = fmt.Errorf("testcontainers: %v", r)
		}
	}()
	provider, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(log.NewNoopLogger()))
	if err != nil {
		return err
	}
	return errors.Join(provider.Health(ctx), provider.Close())
}

// start starts a service as Compose would and waits until its health check
// passes. Its port is published on loopback, on a number that Docker picks.
func (s *stack) start(ctx context.Context, t *testing.T, name, port string) *testcontainers.DockerContainer {
	t.Helper()
	service, begun := s.services[name], time.Now()
	options := []testcontainers.ContainerCustomizer{
		testcontainers.WithLogger(log.NewNoopLogger()),
		network.WithNetwork([]string{name}, s.network),
		testcontainers.WithCmd(service.Command...),
		testcontainers.WithEnv(service.Environment),
		testcontainers.WithExposedPorts(port + "/tcp"),
		testcontainers.WithConfigModifier(service.configure),
		testcontainers.WithHostConfigModifier(func(c *container.HostConfig) {
			service.harden(c)
			c.PortBindings = dockernet.PortMap{dockernet.MustParsePort(port + "/tcp"): {{HostIP: loopback}}}
		}),
		testcontainers.WithWaitStrategyAndDeadline(healthyWithin, wait.ForHealthCheck().WithStartupTimeout(healthyWithin)),
	}
	image := service.Image
	var buildLog bytes.Buffer
	if service.Build != nil {
		image = ""
		options = append(options, testcontainers.WithDockerfile(service.dockerfile(&buildLog)))
	}
	c, err := testcontainers.Run(ctx, image, options...)
	testcontainers.CleanupContainer(t, c, testcontainers.StopTimeout(time.Second))
	if c != nil {
		t.Cleanup(func() { logIfFailed(t, name, c) })
	}
	if err != nil {
		t.Fatalf("%s did not become healthy: %v\n%s", name, err, buildLog.Bytes())
	}
	t.Logf("%s is healthy after %v", name, time.Since(begun).Round(time.Second/10))
	return c
}

// dockerfile has the image kept, under a name that is nobody else's, so that
// the next run builds from the cache.
func (s composeService) dockerfile(buildLog io.Writer) testcontainers.FromDockerfile {
	return testcontainers.FromDockerfile{
		Context: path.Join(moduleRoot, s.Build.Context), Repo: "postern-container-test", Tag: "latest",
		KeepImage: true, BuildLogWriter: buildLog,
		BuildOptionsModifier: func(o *docker.ImageBuildOptions) { o.NetworkMode = s.Build.Network },
	}
}

// configure leaves the image's own health check where Compose has none.
func (s composeService) configure(c *container.Config) {
	if h := s.Healthcheck; h != nil {
		c.Healthcheck = &container.HealthConfig{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, Retries: h.Retries}
	}
}

func (s composeService) harden(c *container.HostConfig) {
	c.ReadonlyRootfs, c.CapDrop, c.SecurityOpt = s.ReadOnly, s.CapDrop, s.SecurityOpt
	c.Tmpfs = map[string]string{}
	for _, mount := range s.Tmpfs {
		dir, flags, _ := strings.Cut(mount, ":")
		c.Tmpfs[dir] = flags
	}
}

func logIfFailed(t *testing.T, name string, c *testcontainers.DockerContainer) {
	t.Helper()
	if !t.Failed() {
		return
	}
	logs, err := c.Logs(context.Background())
	if err != nil {
		t.Logf("no log of %s: %v", name, err)
		return
	}
	const end = 8 << 10
	text, _ := io.ReadAll(logs) // what can be had of it
	t.Logf("the end of the log of %s:\n%s", name, text[max(0, len(text)-end):])
}

// address is where a container's port is published now: another one after
// each start.
func address(ctx context.Context, t *testing.T, c *testcontainers.DockerContainer, port string) string {
	t.Helper()
	mapped, err := c.MappedPort(ctx, port+"/tcp")
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + netip.AddrPortFrom(loopback, mapped.Num()).String()
}
