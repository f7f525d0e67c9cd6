"""Programs that are started, pinned to a processor, measured and ended."""

import os
import re
import socket
import subprocess
import time
from pathlib import Path


def pin(cpu, command):
    return ["taskset", "-c", str(cpu), *command]


class Program:
    """A running program; ended when the `with` block is left."""

    def __init__(self, command, log):
        self.log = Path(log)
        with open(log, "w") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid

    def wait_for_port(self, port, seconds=30):
        end = time.time() + seconds
        while time.time() < end:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 0.5).close()
                return
            except OSError:
                time.sleep(0.02)
        self.end()
        raise SystemExit(f"nothing listens on port {port}; {self.log.name} says: {self.log.read_text()[-1000:]}")

    def end(self):
        children = tree(self.pid)[1:]
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            for pid in [*children, self.pid]:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def tree(pid):
    """The process and its descendants."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            pids += tree(int(child))
    return pids


def cpu_seconds(pid):
    """What the process and its descendants have spent, in user and system mode, to the nanosecond."""
    total = 0
    for process in tree(pid):
        for schedstat in Path(f"/proc/{process}/task").glob("*/schedstat"):
            try:
                total += int(schedstat.read_text().split()[0])
            except (OSError, IndexError):
                # A thread that ended between the two looks.
                continue
    return total / 1e9


def memory_kib(pid):
    """Proportional set size of the process and its descendants."""
    total = 0
    for process in tree(pid):
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1])
    return total
