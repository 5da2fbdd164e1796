"""TLS of the gRPC port, from ``--ssl_config_file``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from model_server.flags import FlagError
from model_server.text_config import read_ssl_config


def read_credentials(path: str) -> grpc.ServerCredentials:
    """Reads what the server shows of itself and asks of clients.

    Args:
        path: The value of ``--ssl_config_file``.

    Raises:
        FlagError: The file cannot be read, or TLS cannot be served with what it holds.
    """
    config = read_ssl_config(path)
    if config.client_required and not config.client_authority:
        raise FlagError(f"--ssl_config_file={path}: expected custom_ca with PEM text beside client_verify, got none")
    credentials = grpc.ssl_server_credentials(
        [(config.server_key, config.server_certificate)],
        # Without the wish for a client's certificate there is nothing to hold against an authority.
        config.client_authority if config.client_required else None,
        config.client_required,
    )
    # gRPC looks at the texts when it listens, and then says nothing but that it failed.
    with ThreadPoolExecutor(1) as thread:
        probe = grpc.server(thread)
        try:
            probe.add_secure_port("127.0.0.1:0", credentials)
        except RuntimeError:
            raise FlagError(
                f"--ssl_config_file={path}: expected server_key and server_cert that belong together, and "
                "certificates in custom_ca; see gRPC's lines above for what is wrong"
            ) from None
        finally:
            probe.stop(None)
    return credentials
