"""TLS of a gRPC server, whose certificate changes while it runs."""

from __future__ import annotations

import threading

import grpc
from structlog.typing import FilteringBoundLogger

from twostage.rpc.security.identity import Identity, IdentityFiles, read_identity
from twostage.rpc.security.metrics import SecurityMetrics
from twostage.rpc.security.private_files import warn_if_others_may_read
from twostage.rpc.security.reloading import Reloaded


class ServerTls:
    """The credentials of a server's port.

    Each new connection gets the newest certificate that is in order; connections that stand keep theirs.

    Args:
        files: Where certificate, key and, for mutual TLS, the clients' authority are.
        metrics: Told when the files change and when the certificate ends.
        logger: Told when the files change.

    Attributes:
        credentials: For `grpc.Server.add_secure_port`.

    Raises:
        SettingsError: The files are not what they should be.
    """

    def __init__(self, files: IdentityFiles, metrics: SecurityMetrics, logger: FilteringBoundLogger) -> None:
        self._setting = f"{files.prefix}_certificate"
        self._metrics = metrics
        self._identity: Reloaded[Identity] = Reloaded(
            self._setting, files.paths, lambda: (read_identity(files), files.paths), metrics, logger
        )
        self._identity.on_change(self._show)
        self._show()
        self._lock = threading.Lock()
        self._handed_out = self._identity.version
        self.credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(self._identity.current),
            self._newest,  # type: ignore[arg-type] # the stubs forget that None means no change
            # gRPC for Python knows no certificate that is welcome and not required.
            require_client_authentication=files.authority is not None,
        )
        if files.key is not None:
            warn_if_others_may_read(files.key, logger)

    def watch(self, seconds: float) -> None:
        """Looks at the files now and then, also while nobody connects, so that log and metrics tell in time."""
        self._identity.watch(seconds)

    def close(self) -> None:
        """Stops looking."""
        self._identity.close()

    def _show(self) -> None:
        self._metrics.show_expiry(self._setting, self._identity.current.expires_at)

    def _newest(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked by gRPC before every handshake; None leaves what it has."""
        self._identity.look()
        with self._lock:
            if self._identity.version == self._handed_out:
                return None
            # The version first: what comes in between is handed out again.
            self._handed_out = self._identity.version
            return _configuration(self._identity.current)


def _configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    assert identity.key is not None
    assert identity.certificate is not None
    return grpc.ssl_server_certificate_configuration([(identity.key, identity.certificate)], identity.authority)
