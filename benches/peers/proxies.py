"""The proxies: where each is found, and a configuration that does the same in each.

All of them forward by host name to one origin over kept-alive connections, set X-Forwarded-For, terminate TLS 1.2 and
1.3 with the same P-256 certificate, offer HTTP/2, use as many threads as they are told and write no access log.
"""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Site:
    """What all of them serve: ports, names, certificate, and the folder where their files go."""

    host = "bench.test"
    plain_port, secure_port, origin_port, admin_port = 18081, 18444, 19001, 18082

    def __init__(self, folder, hosts, workers=1):
        self.folder = folder
        self.workers = workers
        self.hosts = [self.host] + [f"h{number}.{self.host}" for number in range(1, hosts)]
        self.cert, self.key, self.both = folder / "site.crt", folder / "site.key", folder / "site.pem"

    def prepare(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"]
            + ["-subj", f"/CN={self.host}", "-addext", f"subjectAltName=DNS:{self.host},DNS:*.{self.host}"]
            + ["-keyout", self.key, "-out", self.cert],
            check=True,
            capture_output=True,
        )
        self.both.write_text(self.cert.read_text() + self.key.read_text())
        (self.folder / "large").write_bytes(os.urandom(1 << 20) * 10)
        # nginx's workers may run as somebody else.
        self.folder.chmod(0o755)

    def plain(self, path):
        return f"http://{self.host}:{self.plain_port}{path}"

    def secure(self, path):
        return f"https://{self.host}:{self.secure_port}{path}"

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)


def program(name):
    """The command of a peer: the environment variable named after it, or what is on PATH."""
    given = os.environ.get(name.upper())
    if given:
        return shlex.split(given)
    built = ROOT / "target/release/weir"
    if name == "weir" and built.exists():
        return [str(built)]
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    return [found] if found else None


def is_there(name):
    return program(name) is not None


def command(name, site):
    return PEERS[name](program(name), site)


def nginx_main(site, name, http, workers=1):
    temporary = " ".join(
        f"{kind}_temp_path {site.folder}/{name}-{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return site.write(
        f"{name}.conf",
        f"""
daemon off; worker_processes {workers}; pid {site.folder}/{name}.pid; error_log /dev/null crit; worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; {temporary}
  {http}
}}
""",
    )


def nginx_command(program, conf, site):
    return [*program, "-c", conf, "-p", str(site.folder), "-e", "/dev/null"]


def origin(site):
    """The origin is an nginx, whoever is measured."""
    answer = "x" * 1024
    conf = nginx_main(
        site,
        "origin",
        f"""sendfile on; tcp_nodelay on;
  server {{
    listen 127.0.0.1:{site.origin_port} backlog=4096;
    location / {{ default_type application/json; return 200 "{answer}"; }}
    location = /large {{ root {site.folder}; }}
  }}""",
    )
    program_found = program("nginx")
    if not program_found:
        raise SystemExit("nginx is needed as the origin; install it or set NGINX")
    return nginx_command(program_found, conf, site)


def nginx(program, site):
    version = subprocess.run([*program, "-v"], capture_output=True, text=True).stderr
    numbers = [int(part) for part in version.split("nginx/")[-1].split()[0].split(".")[:2]]
    # The switch moved from `listen` to a directive of its own.
    flag, directive = ("", "http2 on;") if numbers >= [1, 25] else (" http2", "")
    # Else one of them takes most of the connections.
    shared = " reuseport" if site.workers > 1 else ""
    conf = nginx_main(
        site,
        "nginx",
        f"""server_names_hash_max_size 65536; server_names_hash_bucket_size 128; http2_max_concurrent_streams 256;
  ssl_certificate {site.cert}; ssl_certificate_key {site.key}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:10m;
  upstream origin {{ server 127.0.0.1:{site.origin_port}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{site.plain_port} backlog=4096{shared}; listen 127.0.0.1:{site.secure_port} ssl{flag} backlog=4096{shared}; {directive}
    server_name {" ".join(site.hosts)};
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}""",
        site.workers,
    )
    return nginx_command(program, conf, site)


def haproxy(program, site):
    site.write("hosts.map", "".join(f"{host} origin\n" for host in site.hosts))
    conf = site.write(
        "haproxy.cfg",
        f"""
global
  nbthread {site.workers}
  maxconn 8000
  ssl-default-bind-options ssl-min-ver TLSv1.2
  tune.h2.max-concurrent-streams 256
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  option forwardfor
  http-reuse always
frontend site
  bind 127.0.0.1:{site.plain_port}
  bind 127.0.0.1:{site.secure_port} ssl crt {site.both} alpn h2,http/1.1
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  use_backend %[req.hdr(host),field(1,:),lower,map_str({site.folder}/hosts.map,none)]
backend origin
  server one 127.0.0.1:{site.origin_port} pool-max-conn 256
backend none
  http-request return status 404
""",
    )
    return [*program, "-db", "-f", conf]


def envoy(program, site):
    extension = "type.googleapis.com/envoy.extensions"
    route = {"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "60s"}}
    virtual_hosts = [{"name": host, "domains": [host, f"{host}:*"], "routes": [route]} for host in site.hosts]
    manager = {
        "@type": f"{extension}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "site",
        "use_remote_address": True,
        "generate_request_id": False,
        "route_config": {"name": "site", "virtual_hosts": virtual_hosts},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{extension}.filters.http.router.v3.Router"}}
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    certificate = {"certificate_chain": {"filename": str(site.cert)}, "private_key": {"filename": str(site.key)}}
    tls = {
        "@type": f"{extension}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [certificate],
        },
    }
    secure = chain | {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls}}
    address = lambda port: {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoint = {"endpoint": {"address": address(site.origin_port)}}
    listeners = [
        {"name": "plain", "address": address(site.plain_port), "filter_chains": [chain]},
        {"name": "secure", "address": address(site.secure_port), "filter_chains": [secure]},
    ]
    cluster = {
        "name": "origin",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [{"max_connections": 10000, "max_pending_requests": 10000, "max_requests": 10000}]},
        "load_assignment": {"cluster_name": "origin", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    conf = site.write("envoy.json", json.dumps({"static_resources": {"listeners": listeners, "clusters": [cluster]}}))
    return [*program, "-c", conf, "--concurrency", str(site.workers), "-l", "off"]


def weir(program, site):
    conf = {
        "threads": site.workers,
        "access-log": "off",
        "admin": {"address": f"127.0.0.1:{site.admin_port}"},
        "listeners": {
            "plain": {"address": f"127.0.0.1:{site.plain_port}"},
            "secure": {"address": f"127.0.0.1:{site.secure_port}", "tls": {}, "limits": {"max-streams": 256}},
        },
        "certificates": [{"file": {"cert": str(site.cert), "key": str(site.key)}}],
        "upstreams": {"origin": {"endpoints": [f"127.0.0.1:{site.origin_port}"], "keepalive": 256}},
        "hosts": [{"names": [host], "routes": [{"path": "/", "upstream": "origin"}]} for host in site.hosts],
    }
    # JSON is YAML.
    return [*program, "run", site.write("weir.yaml", json.dumps(conf))]


PEERS = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy, "weir": weir}
