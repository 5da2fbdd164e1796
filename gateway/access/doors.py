"""The gateway's two doors: who may come in, and how it shows itself to the stages."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence
from typing import Any, Protocol

import grpc
from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from gateway.access.clients_file import MAX_PRIORITY
from gateway.settings import GatewaySettings
from twostage.rpc.caller import DEFAULT_PRIORITY
from twostage.rpc.channels import OpenChannel
from twostage.rpc.gates import Gate
from twostage.rpc.security.channels import SecureChannels
from twostage.rpc.security.identity import IdentityFiles
from twostage.rpc.security.metrics import SecurityMetrics
from twostage.rpc.security.reloading import Reloaded


class HasChannels(Protocol):
    """Who holds channels and can open them anew, e.g. `twostage.rpc.channels.Replicas`."""

    def reopen(self) -> None:
        """Opens every channel anew; calls in flight finish over the old ones."""


class Doors:
    """What the settings say about access, with files that are followed while the gateway runs.

    Args:
        settings: Everything the gateway was told.
        registry: Where the metrics of callers are registered.
        metrics: Told of files that change.
        logger: Likewise.

    Raises:
        SettingsError: A file is not what it should be.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        registry: CollectorRegistry,
        metrics: SecurityMetrics,
        logger: FilteringBoundLogger,
    ) -> None:
        self._seconds = settings.reload_seconds
        self._channels: SecureChannels | None = None
        self._clients: Reloaded[Any] | None = None
        self.gates: tuple[Gate, ...] = ()
        if settings.stage_tls_ca is not None:
            self._channels = SecureChannels(
                IdentityFiles(
                    "stage_tls", "ca", settings.stage_tls_certificate, settings.stage_tls_key, settings.stage_tls_ca
                ),
                server_name=settings.stage_tls_server_name,
                metrics=metrics,
                logger=logger,
            )
        if settings.clients is not None:
            # Tokens and their keys take 15 MB, which a gateway that knows no clients need not have.
            from gateway.access.clients import read_clients  # noqa: PLC0415
            from gateway.access.gate import ClientGate  # noqa: PLC0415

            read = functools.partial(read_clients, settings.clients)
            self._clients = Reloaded("clients", [settings.clients], read, metrics, logger)
            self.gates = (ClientGate(self._clients, registry),)
            if settings.tls_certificate is None and not _is_loopback(settings.host):
                logger.warning("clients' keys and tokens travel unencrypted", expected="tls_certificate, or a proxy")

    @property
    def highest_priority(self) -> int:
        """The highest priority that any caller has or may be given while the gateway runs."""
        return DEFAULT_PRIORITY if self._clients is None else MAX_PRIORITY

    def opener(self, target: str) -> OpenChannel:
        """What opens channels to a stage's replicas.

        Args:
            target: See `twostage.rpc.targets.Target`.
        """
        return grpc.insecure_channel if self._channels is None else self._channels.opener(target)

    def watch(self, stages: Sequence[HasChannels]) -> None:
        """Follows the files from now on.

        Args:
            stages: Open their channels anew when the certificates for them changed.
        """
        if self._channels is not None:
            for stage in stages:
                self._channels.on_change(stage.reopen)
            self._channels.watch(self._seconds)
        if self._clients is not None:
            self._clients.watch(self._seconds)

    def close(self) -> None:
        """Follows them no longer."""
        if self._channels is not None:
            self._channels.close()
        if self._clients is not None:
            self._clients.close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
