# The image of the gateway: the program, the codec libraries that it links, and nothing else. No shell, no package manager, no
# set-user-ID programs; about 60 MB. docs/decisions.md says why it is made like this.
#
#   docker build --build-arg VERSION=v1.2.3 -t penstock .
#   docker run --read-only --tmpfs /tmp penstock demo

FROM docker.io/library/golang:1.26-bookworm AS tools
RUN set -eu; \
    sed -i 's/^Types: deb$/Types: deb deb-src/' /etc/apt/sources.list.d/*.sources; \
    apt-get update -q; \
    apt-get install -q -y --no-install-recommends ca-certificates dpkg-dev gcc libc6-dev make nasm patch pkg-config xz-utils \
      libdav1d-dev libjpeg-dev libopus-dev libyuv-dev

# FFmpeg of Debian's own source, with its security patches, and of all that it can do the decoders that the gateway uses:
# no GPL part, no demuxer, no protocol, no network. Assembler and flags against exploits are as in Debian's.
FROM tools AS ffmpeg
WORKDIR /ffmpeg
RUN apt-get source -q ffmpeg
RUN set -eu; cd ffmpeg-*/; \
    ./configure --prefix=/usr --libdir="/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)" --enable-shared --disable-static \
      --disable-everything --disable-autodetect --disable-iconv --disable-network --disable-programs --disable-doc --disable-debug \
      --disable-avdevice --disable-avfilter --disable-avformat --disable-postproc --disable-swscale \
      --enable-libdav1d --enable-decoder=vp8,vp9,h264,hevc,libdav1d,pcm_alaw,pcm_mulaw,adpcm_g722 \
      --extra-cflags="$(dpkg-buildflags --get CFLAGS) $(dpkg-buildflags --get CPPFLAGS) -g0" --extra-ldflags="$(dpkg-buildflags --get LDFLAGS)" \
      || { cat ffbuild/config.log; exit 1; }; \
    make -j"$(nproc)" >/dev/null; \
    make install >/dev/null; \
    dpkg-parsechangelog -S Version >/ffmpeg/version

FROM ffmpeg AS build
WORKDIR /src
COPY . .
ARG VERSION=devel
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build set -eu; \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/gateway ./cmd/gateway; \
    deploy/image/root /out/gateway "${VERSION}" /image

FROM scratch
COPY --from=build /image/ /
ENV PATH=/usr/local/bin
# The demo writes below where it is started; on a read-only root that is a tmpfs.
WORKDIR /tmp
USER 10001:10001
# gRPC; WHIP, health and metrics; health and metrics alone, and media of all sessions, where PENSTOCK_HEALTH_ADDR,
# PENSTOCK_METRICS_ADDR and PENSTOCK_ICE_UDP_MUX say so. All listen on loopback until PENSTOCK_GRPC_ADDR and PENSTOCK_HTTP_ADDR say otherwise.
EXPOSE 50051 8080 8081 9090 7882/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s CMD ["/usr/local/bin/gateway", "healthcheck", "--live"]
ENTRYPOINT ["/usr/local/bin/gateway"]
CMD ["serve"]
ARG VERSION=devel
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Penstock" \
      org.opencontainers.image.description="Receives WebRTC media and streams decoded frames over gRPC" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="penstock-media/penstock" \
      org.opencontainers.image.documentation="/usr/share/doc/penstock" \
      org.opencontainers.image.licenses="Apache-2.0 AND LGPL-2.1-or-later AND BSD-3-Clause AND BSD-2-Clause AND MIT"
