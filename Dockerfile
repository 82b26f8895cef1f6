# Postern's image: one static binary on nothing, as a user without a name.
# Plain docker build makes it, with BuildKit or without.
#
# Nothing of the build's base is in the image but the public authorities'
# certificates, and what the compiler makes. --build-arg
# GO_IMAGE=golang@sha256:... (or your own mirror's) has the compiler pinned.
ARG GO_IMAGE=golang:1.26
FROM $GO_IMAGE AS build
WORKDIR /src
# Modules first: they change less often than the code.
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY internal internal
# No later build would find the compiler's cache: it is left out of the layer.
RUN CGO_ENABLED=0 GOCACHE=/tmp/gocache go build -trimpath -buildvcs=false -ldflags='-s -w' -o /out/server ./cmd/server \
 && rm -rf /tmp/gocache
# A volume takes its owner and mode from the directory that the image has in
# its place. Without BuildKit a mode is kept of what is in the copied directory
# only, hence the one around it.
RUN mkdir -p /out/root && mkdir -m 0700 /out/root/data

FROM scratch
ARG REVISION=unknown
LABEL org.opencontainers.image.title="postern" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.description="A private gate for mail: bulk personalised mail through any SMTP relay"
# To verify relays and AWS by the public authorities; RELAY_CA_FILE adds others.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/server /server
COPY --from=build --chown=65532:65532 /out/root/ /
# Loopback inside a container reaches nobody, so the image listens everywhere;
# the server then refuses to start until AUTH says who may call.
ENV LISTEN_ADDR=0.0.0.0:8080 \
    METRICS_ADDR=0.0.0.0:9090 \
    DATA_DIR=/data
# The embedded store and its key file. Nothing else is ever written, so the
# root file system can be read-only.
VOLUME /data
EXPOSE 8080 9090
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["/server", "healthcheck"]
ENTRYPOINT ["/server"]
