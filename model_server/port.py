"""Whether the address to listen on is free, asked before the models are loaded, which may take long."""

from __future__ import annotations

import socket

from model_server.flags import Flags


class PortTakenError(Exception):
    """The address cannot be listened on; the message is one line for the user."""


def require_free_port(flags: Flags) -> None:
    """Binds and lets go again; gRPC itself looks again when it binds.

    Raises:
        PortTakenError: Another process listens there, or the host has no such address.
    """
    if flags.port == 0:
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(flags.host, flags.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: connections of a predecessor that linger do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise PortTakenError(f"cannot listen on {flags.host}:{flags.port}: {error.strerror}") from error
