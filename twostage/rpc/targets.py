"""From a target, as people write it, to the addresses of replicas."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from twostage.rpc.address import join_address

_DNS = "dns:///"
_UNIX = "unix:"


@dataclass(frozen=True)
class Target:
    """Where the replicas of a service are.

    Args:
        text: As written: ``host:port``, ``unix:/path``, several of those separated by commas, or
            ``dns:///name:port``, where every address of the name is a replica (a headless Kubernetes service).
        changes: True when the addresses may change, so that they must be looked up again.
        addresses: Looks the addresses up: sorted, distinct; raises OSError when the name cannot be resolved.
    """

    text: str
    changes: bool
    addresses: Callable[[], tuple[str, ...]]


def parse_target(text: str) -> Target:
    """Reads a target.

    Raises:
        ValueError: It is none of the forms that `Target` lists.
    """
    if text.startswith(_DNS):
        host, port = _host_and_port(text.removeprefix(_DNS), text)
        return Target(text, changes=True, addresses=lambda: _resolve(host, port))
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for part in parts:
        if part.startswith(_UNIX):
            if part == _UNIX:
                raise _malformed(text)
        else:
            _host_and_port(part, text)
    return Target(text, changes=False, addresses=lambda: parts)


def _host_and_port(part: str, text: str) -> tuple[str, int]:
    host, separator, port = part.rpartition(":")
    # A bare IPv6 address would lose its last group to the port.
    bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not separator or not host or bare_ipv6 or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise _malformed(text)
    return host.strip("[]"), int(port)


def _malformed(text: str) -> ValueError:
    return ValueError(
        "target: expected host:port, unix:/path, a comma-separated list of those, or dns:///name:port, "
        f"received {text!r}"
    )


def _resolve(host: str, port: int) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(sorted({join_address(str(address[0]), port) for *_, address in found}))
