"""Encrypted channels to our own services, whose certificates change while channels live.

A channel of gRPC for Python keeps the certificates that it was opened with, also when it connects anew. So new files
are taken by new channels: whoever holds some is told, opens them again, and lets the old ones finish their calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from structlog.typing import FilteringBoundLogger

from twostage.rpc.channels import OpenChannel
from twostage.rpc.security.identity import Identity, IdentityFiles, read_identity
from twostage.rpc.security.metrics import SecurityMetrics
from twostage.rpc.security.private_files import warn_if_others_may_read
from twostage.rpc.security.reloading import Reloaded

_DNS = "dns:///"


class SecureChannels:
    """Opens channels with TLS, and with a certificate of our own where there is one.

    Args:
        files: Where the servers' authority is, and certificate and key for mutual TLS.
        server_name: The name that the servers' certificates must carry; unset it is the host as the target has it.
        metrics: Told when the files change and when our certificate ends.
        logger: Told when the files change.

    Raises:
        SettingsError: The files are not what they should be.
    """

    def __init__(
        self,
        files: IdentityFiles,
        *,
        server_name: str | None,
        metrics: SecurityMetrics,
        logger: FilteringBoundLogger,
    ) -> None:
        self._setting = f"{files.prefix}_certificate"
        self._server_name = server_name
        self._metrics = metrics
        self._identity: Reloaded[Identity] = Reloaded(
            self._setting, files.paths, lambda: (read_identity(files), files.paths), metrics, logger
        )
        self._identity.on_change(self._show)
        self._show()
        if files.key is not None:
            warn_if_others_may_read(files.key, logger)

    def opener(self, target: str) -> OpenChannel:
        """What opens channels to a target's replicas, always with the files as they are then.

        Args:
            target: See `twostage.rpc.targets.Target`. The replicas of ``dns:///name:port`` are addresses, and their
                certificates carry the name.
        """
        name = self._server_name or (target.removeprefix(_DNS).rpartition(":")[0] if target.startswith(_DNS) else None)

        def open_channel(address: str, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
            identity = self._identity.current
            credentials = grpc.ssl_channel_credentials(identity.authority, identity.key, identity.certificate)
            if name is not None:
                options = [*options, ("grpc.ssl_target_name_override", name)]
            return grpc.secure_channel(address, credentials, options=options)

        return open_channel

    def on_change(self, listener: Callable[[], None]) -> None:
        """Registers what opens channels anew; called in a thread of its own after the files changed."""
        self._identity.on_change(listener)

    def watch(self, seconds: float) -> None:
        """Looks at the files every so many seconds from now on."""
        self._identity.watch(seconds)

    def close(self) -> None:
        """Stops looking; channels stay open."""
        self._identity.close()

    def _show(self) -> None:
        self._metrics.show_expiry(self._setting, self._identity.current.expires_at)
