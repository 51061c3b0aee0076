# The image of the gateway: built and run on the same Debian, so that the codec libraries are those it was compiled against.
FROM docker.io/library/golang:1.26-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
      gcc libc6-dev pkg-config libavcodec-dev libavutil-dev libswresample-dev libopus-dev libyuv-dev libjpeg-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /gateway ./cmd/gateway

FROM docker.io/library/debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
      ca-certificates libavcodec59 libavutil57 libswresample4 libopus0 libyuv0 libjpeg62-turbo \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin penstock
COPY --from=build /gateway /usr/local/bin/gateway
USER 10001:10001
# gRPC; WHIP and health. Both listen on loopback until PENSTOCK_GRPC_ADDR and PENSTOCK_HTTP_ADDR say otherwise.
EXPOSE 50051 8080
HEALTHCHECK CMD ["gateway", "healthcheck", "--live"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
