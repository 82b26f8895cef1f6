package dynamotest

import (
	"context"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/modules/dynamodb"
)

const image = "amazon/dynamodb-local:latest"

// startContainer runs the image where a Docker engine answers. When this
// process is killed, testcontainers' own reaper ends the container.
func startContainer(ctx context.Context, cpus string) (s server, err error) {
	// testcontainers panics for some broken settings of Docker.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("testcontainers: %v", r)
		}
	}()
	quiet := log.NewNoopLogger()
	provider, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(quiet))
	if err != nil {
		return server{}, err
	}
	if err := provider.Health(ctx); err != nil {
		return server{}, err
	}
	local, err := dynamodb.Run(ctx, image,
		testcontainers.WithCmdArgs("-inMemory", "-sharedDb"), dynamodb.WithDisableTelemetry(),
		testcontainers.WithLogger(quiet),
		testcontainers.WithHostConfigModifier(func(host *container.HostConfig) { host.CpusetCpus = cpus }))
	if local == nil {
		return server{}, err
	}
	s = server{way: "in a container of " + image, stop: func(ctx context.Context) error { return local.Terminate(ctx) }}
	if err == nil {
		s.endpoint, err = local.PortEndpoint(ctx, "8000/tcp", "http")
	}
	if err == nil {
		err = awaitAnswer(ctx, s.endpoint, nil)
	}
	if err != nil {
		_ = s.stop(ctx)
		return server{}, err
	}
	return s, nil
}
