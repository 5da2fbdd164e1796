"""Whether the addresses to listen on are free, asked before the models are loaded, which may take long."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

from model_server.flags import Flags
from twostage.rpc.address import AddressUnavailable, require_free

# sun_path of <sys/un.h> on Linux, with its closing zero.
_LONGEST_SOCKET_PATH_BYTES = 107


def require_free_addresses(flags: Flags) -> None:
    """Binds and lets go again; the servers themselves look again when they bind.

    Raises:
        AddressUnavailable: Another process listens there, or there is no such address; the message is one line for the
            user.
    """
    if flags.port:
        require_free(flags.host, flags.port, "gRPC (--port)")
    if flags.rest_api_port:
        require_free(flags.host, flags.rest_api_port, "REST (--rest_api_port)")
    if flags.grpc_socket_path:
        _require_free_socket(flags.grpc_socket_path)


def _require_free_socket(path: str) -> None:
    """Looks before gRPC does, which removes a socket that it finds, also from under a server that listens there."""
    purpose = "gRPC (--grpc_socket_path)"
    absolute = Path(path).absolute()
    if len(bytes(absolute)) > _LONGEST_SOCKET_PATH_BYTES:
        raise AddressUnavailable(path, purpose, f"expected a path of at most {_LONGEST_SOCKET_PATH_BYTES} bytes")
    if not absolute.parent.is_dir():
        raise AddressUnavailable(path, purpose, f"{absolute.parent} is no folder")
    try:
        mode = absolute.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise AddressUnavailable(path, purpose, error.strerror or str(error)) from error
    if not stat.S_ISSOCK(mode):
        raise AddressUnavailable(path, purpose, "a file that is no socket is there")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(absolute))
        except OSError:
            return  # left by a process that has ended
    raise AddressUnavailable(path, purpose, "Address already in use")
