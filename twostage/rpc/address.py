"""Addresses that a server listens on."""

from __future__ import annotations

import socket


class AddressUnavailable(Exception):
    """An address cannot be listened on, mostly because another process does.

    Args:
        address: The address, ``host:port``.
        purpose: What should have listened there, e.g. ``metrics``.
        why: What the system says about it.
    """

    def __init__(self, address: str, purpose: str, why: str) -> None:
        super().__init__(f"cannot listen on {address} for {purpose}: {why}")
        self.address = address


def require_free(host: str, port: int, purpose: str) -> None:
    """Makes sure that an address can be listened on, in the system's own words when it cannot.

    gRPC says only that it failed, and logs lines of its own about it. Between this check and the real listening the
    address may still be taken; then gRPC's failure is what is told.

    Args:
        host: A name or an address of this machine.
        port: 0 to 65535; 0 is always free.
        purpose: What is going to listen there.

    Raises:
        AddressUnavailable: It cannot.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: connections of a process that has just ended do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Not listened on: whoever waits for this server would be let in, and thrown out again.
            probe.bind(address)
    except OSError as error:
        raise AddressUnavailable(join_address(host, port), purpose, error.strerror or str(error)) from error


def reserve(host: str, port: int, purpose: str) -> socket.socket:
    """Takes a port for processes that share it, and does not listen on it.

    While the socket is open no stranger can take the port, and those processes may, with SO_REUSEPORT. Connections are
    refused until one of them listens.

    Args:
        host: A name or an address of this machine.
        port: 0 to 65535; 0 lets the system choose a free one.
        purpose: What is going to listen there.

    Raises:
        AddressUnavailable: The address cannot be taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        reserved = socket.socket(family, kind, protocol)
        try:
            # As in require_free; the port is ours alone first, so that two who share ports do not share this one.
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.bind(address)
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except BaseException:
            reserved.close()
            raise
    except OSError as error:
        raise AddressUnavailable(join_address(host, port), purpose, error.strerror or str(error)) from error
    return reserved


def join_address(host: str, port: int) -> str:
    """Joins host and port as clients write them: ``127.0.0.1:50050``, ``[::1]:50050``."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
