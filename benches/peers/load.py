"""Load: wrk for HTTP/1.1, h2load for HTTP/2, Python for resumed sessions, plain sockets for connections that do nothing."""

import contextlib
import re
import resource
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from processes import pin

CPU = 0


@dataclass
class Result:
    requests: int
    failed: int


def run(command):
    return subprocess.run(pin(CPU, command), capture_output=True, text=True).stdout


def to_loopback(url):
    """The URL with the address in place of the name, and the name."""
    parts = urlsplit(url)
    return f"{parts.scheme}://127.0.0.1:{parts.port}{parts.path}", parts.hostname


def wrk(url, connections, seconds, close=False, headers=()):
    url, host = to_loopback(url)
    lines = [f"Host: {host}", *headers] + (["Connection: close"] if close else [])
    fields = [word for line in lines for word in ("-H", line)]
    text = run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *fields, url])
    found = re.search(r"(\d+) requests in", text)
    if not found:
        raise SystemExit(f"wrk says: {text}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = (int(bad[1]) if bad else 0) + (sum(map(int, broken.groups())) if broken else 0)
    return Result(int(found[1]), failed)


def h2load(url, connections, streams, seconds):
    parts = urlsplit(url)
    options = [f"-c{connections}", f"-m{streams}", "-t1", f"--connect-to=127.0.0.1:{parts.port}"]
    text = run(["h2load", *options, f"-D{seconds}", url])
    found = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed", text)
    if not found:
        raise SystemExit(f"h2load says: {text}")
    return Result(int(found[1]), int(found[3]))


def resumed(url, seconds):
    parts = urlsplit(url)
    script = str(Path(__file__).with_name("resume.py"))
    text = run([sys.executable, script, str(parts.port), parts.hostname, str(seconds)])
    found = re.search(r"(\d+) answered, (\d+) failed", text)
    if not found:
        raise SystemExit(f"resume.py says: {text}")
    return Result(int(found[1]), int(found[2]))


def request(host):
    return f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def wait_for_answer(port, host, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(request(host))
            if connection.recv(64).startswith(b"HTTP/1.1 200 "):
                return
        time.sleep(0.05)
    raise SystemExit(f"port {port} does not answer 200")


@contextlib.contextmanager
def idle_connections(port, host, count):
    """So many open connections, each after one answered request."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count + 256), hard), hard))
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            connection.sendall(request(host))
            received = b""
            while b"\r\n\r\n" not in received or len(received) < 1024:
                received += connection.recv(4096)
        yield
