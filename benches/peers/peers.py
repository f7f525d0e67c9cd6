#!/usr/bin/env python3
"""What a request costs in Weir and in other proxies, measured side by side.

Each proxy runs alone on one processor; the origin and the load run on another. For each scenario the proxies take
turns, round after round, so that whatever else the machine does hits all of them alike. What is compared is the CPU
time that the proxy's processes spent for each request; the table shows medians over the rounds, also of the ratio to
the first proxy of the list within a round.

    cargo build --release
    benches/peers/peers.py                                    # all that are found, all scenarios
    benches/peers/peers.py --proxies nginx,weir --scenarios h1,tls --rounds 5 --seconds 6
    benches/peers/peers.py --workers 2                        # each proxy, and the load, on both processors
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import load
import proxies
from processes import Program, cpu_seconds, memory_kib, pin

# A small answer on a kept-alive connection, a large one, many names, one request for each connection.
SCENARIOS = {
    "h1": ("plain HTTP/1.1, 64 connections, 1 KB", lambda site, s: load.wrk(site.plain("/"), 64, s)),
    "tls": ("HTTP/1.1 over TLS, 64 connections, 1 KB", lambda site, s: load.wrk(site.secure("/"), 64, s)),
    "h2": ("HTTP/2 over TLS, 8 connections of 32 streams, 1 KB", lambda site, s: load.h2load(site.secure("/"), 8, 32, s)),
    "handshake": ("a TLS connection for each request", lambda site, s: load.wrk(site.secure("/"), 32, s, close=True)),
    "resumed": ("a TLS connection for each request, its session resumed", lambda site, s: load.resumed(site.secure("/"), s)),
    "download": ("10 MiB, 8 connections", lambda site, s: load.wrk(site.plain("/large"), 8, s)),
}
IDLE_CONNECTIONS = 2000


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="weir-peers-") as folder:
        site = proxies.Site(Path(folder), options.hosts, options.workers)
        site.prepare()
        names = [name for name in options.proxies if proxies.is_there(name)]
        missing = sorted(set(options.proxies) - set(names))
        if missing:
            print(f"not found, left out: {', '.join(missing)}", file=sys.stderr)
        if not names:
            sys.exit("no proxy was found")
        with Program(pin(options.load_cpu, proxies.origin(site)), site.folder / "origin.log") as origin:
            origin.wait_for_port(site.origin_port)
            load.CPU = options.load_cpu
            for scenario in options.scenarios:
                print_table(scenario, names, measure(scenario, names, site, options))
            if options.idle:
                print_idle(names, site, options)


def measure(scenario, names, site, options):
    """The rounds of each proxy: a list of dictionaries by name."""
    rounds = {name: [] for name in names}
    for number in range(options.rounds):
        # Nobody always comes after the same one.
        for name in names if number % 2 == 0 else reversed(names):
            rounds[name].append(one_round(SCENARIOS[scenario][1], name, site, options))
    return rounds


def one_round(scenario, name, site, options):
    with started(name, site, options) as proxy:
        scenario(site, 1)  # Warms pools and caches up.
        before = cpu_seconds(proxy.pid)
        result = scenario(site, options.seconds)
        spent = cpu_seconds(proxy.pid) - before
        return {
            "cpu": spent / max(result.requests, 1) * 1e6,
            "rate": result.requests / options.seconds,
            "busy": spent / options.seconds,
            "memory": memory_kib(proxy.pid) / 1024,
            "failed": result.failed,
        }


def started(name, site, options):
    command = pin(options.proxy_cpu, proxies.command(name, site))
    proxy = Program(command, site.folder / f"{name}.log")
    proxy.wait_for_port(site.plain_port)
    proxy.wait_for_port(site.secure_port)
    load.wait_for_answer(site.plain_port, site.host)
    return proxy


def print_table(scenario, names, rounds):
    median = {name: {key: statistics.median(r[key] for r in rounds[name]) for key in rounds[name][0]} for name in names}
    costs = {name: [r["cpu"] for r in rounds[name]] for name in names}
    ratio = {name: [cost / base for cost, base in zip(costs[name], costs[names[0]])] for name in names}
    print(f"\n### {scenario}: {SCENARIOS[scenario][0]}\n")
    print(f"| proxy | CPU µs per request | × {names[0]} | spread | requests/s | busy | memory MiB | failed |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in names:
        m = median[name]
        failed = sum(r["failed"] for r in rounds[name])
        print(
            f"| {name} | {m['cpu']:.1f} | {statistics.median(ratio[name]):.2f} | {min(ratio[name]):.2f}–{max(ratio[name]):.2f} "
            f"| {m['rate']:.0f} | {m['busy']:.2f} | {m['memory']:.1f} | {failed} |"
        )


def print_idle(names, site, options):
    print(f"\n### idle: memory of each of {IDLE_CONNECTIONS} kept-alive connections after one request\n")
    print("| proxy | KiB per connection |")
    print("|---|---:|")
    for name in names:
        with started(name, site, options) as proxy:
            before = memory_kib(proxy.pid)
            with load.idle_connections(site.plain_port, site.host, IDLE_CONNECTIONS):
                grown = memory_kib(proxy.pid) - before
        print(f"| {name} | {grown / IDLE_CONNECTIONS:.1f} |")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: text.split(",")
    parser.add_argument("--proxies", type=words, default=list(proxies.PEERS), help="in this order; the first is the base")
    parser.add_argument("--scenarios", type=words, default=list(SCENARIOS), help=", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of load in each round")
    parser.add_argument("--hosts", type=int, default=1, help="names that each proxy is configured for")
    parser.add_argument("--idle", action="store_true", help="measure idle connections as well")
    parser.add_argument("--workers", type=int, default=1, help="of each proxy, a processor each; with more than one, the load shares those")
    parser.add_argument("--proxy-cpu", default="1")
    parser.add_argument("--load-cpu", default="0")
    options = parser.parse_args()
    if options.workers > 1:
        options.proxy_cpu = options.load_cpu = f"0-{options.workers - 1}"
    unknown = (set(options.proxies) - set(proxies.PEERS)) | (set(options.scenarios) - set(SCENARIOS))
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    main()
