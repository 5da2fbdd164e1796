"""Addresses that a server listens on."""

from __future__ import annotations


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


def join_address(host: str, port: int) -> str:
    """Joins host and port as clients write them: ``127.0.0.1:50050``, ``[::1]:50050``."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
