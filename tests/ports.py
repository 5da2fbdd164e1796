"""Ports for servers that a test starts, and whether somebody listens there."""

from __future__ import annotations

import os
import random
import socket
import threading
from pathlib import Path

HOST = "127.0.0.1"
_FIRST = 10_000
# Where the ports that connections get by themselves begin, if the system does not tell: gVisor's is the lowest known.
_LOWEST_EPHEMERAL = 16_000
# Tests that run in several processes at once take their ports from parts of the range of their own.
_PART_COUNT = 8

_given: set[int] = set()
_lock = threading.Lock()


def _range() -> range:
    try:
        end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        end = _LOWEST_EPHEMERAL
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    size = (max(end, _FIRST + 1_000) - _FIRST) // _PART_COUNT
    start = _FIRST + int(worker) % _PART_COUNT * size
    return range(start, start + size)


def free_port() -> int:
    """A port where nobody listens, which this process gives to nobody else.

    It lies below the ports that connections get by themselves: whoever asks such a port of this host whether somebody
    listens may be given it for the asking, and then finds itself; and a server cannot listen where a connection stands.
    """
    ports = _range()
    while True:
        port = random.choice(ports)
        with _lock:
            if port in _given:
                continue
            _given.add(port)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


def listens(address: str) -> bool:
    """Whether somebody takes a connection at ``host:port`` now."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 1.0) as connection:
            # A connection to itself is nobody's.
            return bool(connection.getsockname() != connection.getpeername())
    except OSError:
        return False
