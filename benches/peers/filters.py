#!/usr/bin/env python3
"""What each filter costs a request, in Weir and, where it has its like, in nginx: on and off, in turns.

nginx and Weir run on one processor, one of them under load at a time; the origin and the load run on another. Every
filter has a path of its own, and `/` has none: its cost is what the difference is to.

    cargo build --release
    benches/peers/filters.py --rounds 5 --seconds 2
"""

import argparse
import base64
import hashlib
import hmac
import statistics
import tempfile
from pathlib import Path

import load
import proxies
from processes import Program, cpu_seconds, pin

SECRET = b"a secret of more than thirty-two bytes"


def signed(claims):
    """A token with HS256."""
    def text(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = text(b'{"alg":"HS256","typ":"JWT"}') + "." + text(claims)
    return head + "." + text(hmac.new(SECRET, head.encode(), hashlib.sha256).digest())


TOKEN = signed(b'{"sub":"a","exp":4102444800}')
NGINX_PORT, WEIR_PORT, AUTH_PORT = 18091, 18092, 19002

# Path, the filter in Weir's file, nginx's directives for it (none: it has nothing like that), and request headers.
FILTERS = [
    ("off", "[]", "", []),
    ("headers", "[ { headers: { request: { set: { X-A: a } }, response: { set: { X-B: b } } } } ]",
     "proxy_set_header X-A a; proxy_set_header Connection ''; proxy_set_header Host $host; add_header X-B b always;", []),
    ("headers-with-variables", "[ { headers: { response: { set: { X-B: '${client-ip} ${host}' } } } } ]",
     'add_header X-B "$remote_addr $host" always;', []),
    ("security-headers", "[ security-headers ]",
     "add_header X-Content-Type-Options nosniff always; add_header X-Frame-Options DENY always;"
     " add_header Referrer-Policy strict-origin-when-cross-origin always;", []),
    ("cache-headers", "[ { cache-headers: [ { path: /cache-headers, cache-control: 'public, max-age=60' } ] } ]",
     "add_header Cache-Control 'public, max-age=60';", []),
    ("cors", "[ { cors: { origins: ['https://a.test'] } } ]", None, ["Origin: https://a.test"]),
    ("allow", "[ { allow: [127.0.0.0/8, 10.0.0.0/8] } ]", "allow 127.0.0.0/8; allow 10.0.0.0/8; deny all;", []),
    ("rate-limit", "[ { rate-limit: { rate: 1000000/s, burst: 1000000, delay: none } } ]",
     "limit_req zone=rate burst=60000 nodelay;", []),
    ("concurrency-limit", "[ { concurrency-limit: { max: 10000, key: client-ip } } ]", "limit_conn connections 10000;", []),
    ("basic-auth", "[ { basic-auth: { file: FOLDER/users } } ]",
     "auth_basic site; auth_basic_user_file FOLDER/users;", ["Authorization: Basic YTpi"]),
    ("forward-auth", "[ { forward-auth: { url: 'http://127.0.0.1:AUTH/' } } ]", "auth_request /verify;", []),
    ("jwt", "[ { jwt: { secret-file: FOLDER/secret, algorithms: [HS256] } } ]", None, [f"Authorization: Bearer {TOKEN}"]),
    ("bandwidth", "[ { bandwidth: { rate: 1GB/s } } ]", "limit_rate 1000m;", []),
    ("max-body-size", "[ { max-body-size: 1MB } ]", "client_max_body_size 1m;", []),
    ("error-pages", "[ { error-pages: { intercept: true, pages: [ { status: [5xx], html: FOLDER/page } ] } } ]",
     "proxy_intercept_errors on; error_page 500 502 503 504 /page;", []),
    ("compress-gzip-5", "[ { compress: { gzip: 5, types: [application/json], min-size: 256B } } ]",
     "gzip on; gzip_comp_level 5; gzip_types application/json; gzip_min_length 256; gzip_proxied any;",
     ["Accept-Encoding: gzip"]),
    # What the first user of config/first-user.yaml has in force at once.
    ("policy", "[ { rate-limit: { rate: 1000000/s, burst: 1000000, delay: none } },"
     " { concurrency-limit: { max: 10000, key: client-ip } }, { max-body-size: 10MB }, security-headers,"
     " { headers: { request: { set: { X-A: a } }, response: { set: { X-B: '${host}' } } } },"
     " { cors: { origins: ['https://a.test'] } }, { access-log: on } ]",
     "limit_req zone=rate burst=60000 nodelay; limit_conn connections 10000; client_max_body_size 10m;"
     " add_header X-Content-Type-Options nosniff always; add_header X-Frame-Options DENY always;"
     " add_header Referrer-Policy strict-origin-when-cross-origin always; add_header X-B $host always;"
     " add_header Access-Control-Allow-Origin $http_origin always; add_header Vary Origin always;"
     " proxy_set_header X-A a; proxy_set_header Connection ''; proxy_set_header Host $host;"
     " access_log FOLDER/access.log;", ["Origin: https://a.test"]),
    ("cache-hit", "[ { cache: { ttl: { 200: 10m } } } ]",
     "proxy_cache kept; proxy_cache_valid 200 10m; proxy_cache_lock on;", []),
]
# Ways of a route that are no filters.
SPLIT = "split: { weights: { origin: 3, other: 1 } }"


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="weir-filters-") as folder:
        site = proxies.Site(Path(folder), 1)
        site.folder.chmod(0o755)
        (site.folder / "users").write_text(f"a:{{SHA}}{sha1_of('b')}\n")
        (site.folder / "secret").write_bytes(SECRET)
        (site.folder / "page").write_text("an error")
        load.CPU = options.load_cpu
        programs = {"nginx": nginx(site), "weir": weir(site)}
        with Program(pin(options.load_cpu, origin(site)), site.folder / "origin.log") as running_origin:
            running_origin.wait_for_port(site.origin_port)
            with (
                Program(pin(options.proxy_cpu, programs["nginx"]), site.folder / "nginx.log") as nginx_running,
                Program(pin(options.proxy_cpu, programs["weir"]), site.folder / "weir.log") as weir_running,
            ):
                nginx_running.wait_for_port(NGINX_PORT)
                weir_running.wait_for_port(WEIR_PORT)
                print_table(measure({"nginx": nginx_running, "weir": weir_running}, options))


def sha1_of(password):
    return base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()


def paths():
    return [(name, headers, directives is not None) for name, _, directives, headers in FILTERS] + [("split", [], False)]


def measure(running, options):
    """Microseconds per request, by name of the filter and of the proxy; a list of one for each round."""
    ports = {"nginx": NGINX_PORT, "weir": WEIR_PORT}
    costs, failed = {}, {}
    for _ in range(options.rounds):
        for name, headers, in_nginx in paths():
            if options.only and name not in ("off", *options.only.split(",")):
                continue
            for proxy in ("nginx", "weir") if in_nginx else ("weir",):
                url = f"http://bench.test:{ports[proxy]}/{name}"
                load.wrk(url, 64, 1, headers=headers) if (name, proxy) not in costs else None
                before = cpu_seconds(running[proxy].pid)
                result = load.wrk(url, 64, options.seconds, headers=headers)
                spent = cpu_seconds(running[proxy].pid) - before
                costs.setdefault((name, proxy), []).append(spent / max(result.requests, 1) * 1e6)
                failed[(name, proxy)] = failed.get((name, proxy), 0) + result.failed
    return costs, failed


def print_table(measured):
    costs, failed = measured
    median = {key: statistics.median(rounds) for key, rounds in costs.items()}
    print("| filter | nginx µs | more than off | Weir µs | more than off | Weir × nginx | failed |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, _, in_nginx in paths():
        if (name, "weir") not in median:
            continue
        weir_cost, weir_more = median[(name, "weir")], median[(name, "weir")] - median[("off", "weir")]
        if in_nginx:
            cost = median[(name, "nginx")]
            beside = f"{cost:.1f} | {cost - median[('off', 'nginx')]:+.1f}"
            ratio = f"{weir_cost / cost:.2f}"
        else:
            beside, ratio = "– | –", "–"
        bad = failed[(name, "weir")] + failed.get((name, "nginx"), 0)
        print(f"| {name} | {beside} | {weir_cost:.1f} | {weir_more:+.1f} | {ratio} | {bad} |")


def origin(site):
    """Answers with 1 KiB of JSON that can be compressed, and to whoever asks whether somebody may come in."""
    answer = "".join(f'{{\\"id\\":{number},\\"name\\":\\"user {number * 7919}\\"}},' for number in range(30))[:1400]
    conf = proxies.nginx_main(
        site,
        "origin",
        f"""server {{
    listen 127.0.0.1:{site.origin_port} backlog=4096;
    location / {{ default_type application/json; return 200 "{answer}"; }}
  }}
  server {{ listen 127.0.0.1:{AUTH_PORT}; location / {{ return 204; }} }}""",
    )
    return proxies.nginx_command(proxies.program("nginx"), conf, site)


def nginx(site):
    locations = "".join(
        f"location = /{name} {{ {filled(site, directives)} proxy_pass http://origin; }}\n"
        for name, _, directives, _ in FILTERS
        if directives is not None
    )
    conf = proxies.nginx_main(
        site,
        "nginx",
        f"""
  proxy_cache_path {site.folder}/kept keys_zone=kept:10m;
  limit_req_zone $binary_remote_addr zone=rate:10m rate=1000000r/s;
  limit_conn_zone $binary_remote_addr zone=connections:10m;
  upstream origin {{ server 127.0.0.1:{site.origin_port}; keepalive 256; }}
  upstream auth {{ server 127.0.0.1:{AUTH_PORT}; keepalive 256; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  server {{
    listen 127.0.0.1:{NGINX_PORT} backlog=4096;
    {locations}
    location = /verify {{ internal; proxy_pass http://auth; proxy_pass_request_body off; proxy_set_header Content-Length ""; }}
    location = /page {{ internal; root {site.folder}; }}
    location / {{ return 404; }}
  }}""",
    )
    return proxies.nginx_command(proxies.program("nginx"), conf, site)


def weir(site):
    routes = [f"{{ exact: /{name}, upstream: origin, filters: {filled(site, text)} }}" for name, text, _, _ in FILTERS]
    routes.append(f"{{ exact: /split, {SPLIT} }}")
    lines = "\n".join(f"      - {route}" for route in routes)
    text = f"""
threads: 1
access-log: combined
admin: {{ address: "127.0.0.1:{site.admin_port}" }}
listeners: {{ http: {{ address: "127.0.0.1:{WEIR_PORT}" }} }}
upstreams:
  origin: {{ endpoints: ["127.0.0.1:{site.origin_port}"], keepalive: 256 }}
  other: {{ endpoints: ["127.0.0.1:{site.origin_port}"], keepalive: 256 }}
hosts:
  - names: ["*"]
    filters: [ {{ access-log: off }} ]
    routes:
{lines}
"""
    return [*proxies.program("weir"), "run", site.write("weir.yaml", text)]


def filled(site, text):
    return text.replace("FOLDER", str(site.folder)).replace("AUTH", str(AUTH_PORT))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--only", help="names of filters, with commas between them")
    parser.add_argument("--proxy-cpu", type=int, default=0)
    parser.add_argument("--load-cpu", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
