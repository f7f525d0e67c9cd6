# Two stages: build with the toolchain, run with the binary, its C library and the public roots. No shell is used.
#
#   docker build -t weir .
#   docker run --rm -p 8080:8080 -v "$PWD/config:/etc/weir:ro" weir run /etc/weir/minimal.yaml

FROM rust:1.95-bookworm AS build
# zlib-ng, which Pingora links, is built with CMake. Its version does not matter.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin weir

# The C library is that of the build stage. Public roots: for upstreams whose certificates are to be verified.
FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /build/target/release/weir /usr/local/bin/weir
WORKDIR /etc/weir
# Where `acme.storage` is by default, and where caches may be: volumes mounted here belong to the user below.
RUN mkdir -p /var/lib/weir /var/cache/weir && chown 1001:1001 /var/lib/weir /var/cache/weir
# A number, so that an orchestrator can see that it is not root. Nothing is written to the root file system.
USER 1001:1001
EXPOSE 8080 8443
# The binary asks its own admin address for /readyz.
HEALTHCHECK --interval=5s --timeout=2s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/weir", "health", "--admin", "127.0.0.1:9180"]
ENTRYPOINT ["/usr/local/bin/weir"]
CMD ["run", "/etc/weir/weir.yaml"]
