#!/usr/bin/env bash
# Does an image serve in a cluster? For the kind cluster of kind.yaml, which kubectl talks to and which has the image.
#
#   bash .github/smoke/run.sh IMAGE TAG
set -euo pipefail
image=$1 tag=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)

say() { printf '\n== %s\n' "$*"; }
fetch() { curl --silent --max-time 5 --cacert "$work/tls.crt" --resolve hello.test:8443:127.0.0.1 "$@"; }

show_what_is_there() {
    kubectl get pods,ingress -A -o wide
    kubectl get events -A --field-selector type=Warning
    kubectl -n weir logs daemonset/weir --tail=100
}
finish() {
    local status=$?
    [ "$status" -eq 0 ] || show_what_is_there
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

say "Deploying"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=hello.test \
    -addext subjectAltName=DNS:hello.test -keyout "$work/tls.key" -out "$work/tls.crt" 2>/dev/null
kubectl kustomize "$here" | sed "s|image: weir$|image: $image:$tag|" | kubectl apply -f -
kubectl -n smoke create secret tls hello-tls --cert "$work/tls.crt" --key "$work/tls.key"
kubectl -n smoke rollout status deployment/hello --timeout 2m
kubectl -n weir rollout status daemonset/weir --timeout 2m

say "Serving over TLS"
for _ in $(seq 30); do
    [ "$(fetch https://hello.test:8443/)" = hello ] && break
    sleep 1
done
[ "$(fetch https://hello.test:8443/)" = hello ]
say "Redirecting to it, serving without, and not serving what nobody asked for"
[ "$(fetch -o "$work/body" -w '%{http_code}' -H 'Host: hello.test' http://127.0.0.1:8080/)" = 308 ]
[ "$(fetch -H 'Host: plain.test' http://127.0.0.1:8080/)" = hello ]
[ "$(fetch -o "$work/body" -w '%{http_code}' -H 'Host: nobody.test' http://127.0.0.1:8080/)" = 404 ]

say "Rolling the backend under requests"
kubectl -n smoke rollout restart deployment/hello
(
    failed=0
    for _ in $(seq 300); do
        [ "$(fetch https://hello.test:8443/)" = hello ] || failed=$((failed + 1))
        sleep 0.1
    done
    echo "$failed of 300 requests failed"
    [ "$failed" -eq 0 ]
) &
kubectl -n smoke rollout status deployment/hello --timeout 2m
wait $!

say "Showing where it is reached"
for _ in $(seq 90); do
    [ -n "$(kubectl -n smoke get ingress hello -o jsonpath='{.status.loadBalancer.ingress[0].ip}')" ] && break
    sleep 1
done
kubectl -n smoke get ingress hello -o jsonpath='{.status.loadBalancer.ingress[0].ip}' | grep -q .
say "It serves"
