"""The server of the HTTP face: uvicorn with our own start, signals and end."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import grpc
import uvicorn
from structlog.typing import FilteringBoundLogger

from gateway.http.app import App
from gateway.http.calls import Calls
from gateway.http.connections import Connection
from gateway.http.cors import Cors
from gateway.http.log_bound import LogBound
from gateway.http.metrics import HttpMetrics
from gateway.http.settings import HttpSettings
from gateway.http.tls import HttpTls
from twostage.gateway_access import AccessInvalid
from twostage.rpc.address import AddressUnavailable, join_address, require_free
from twostage.rpc.announcement import announce, announcement
from twostage.rpc.complaint import complain
from twostage.rpc.gateway_channel import gateway_channel_options
from twostage.rpc.log import configure_logging
from twostage.rpc.metrics import new_registry
from twostage.rpc.metrics_endpoint import MetricsEndpoint
from twostage.rpc.security.metrics import SecurityMetrics
from twostage.rpc.settings import SettingsError, load_settings
from twostage.rpc.tracing.opening import CLOSE_SECONDS, open_tracer
from twostage.rpc.worker import Worker

SERVICE = "http"

_BACKLOG = 2048


def run(flags: Mapping[str, object]) -> int:
    """Runs the HTTP face in this process until SIGTERM or SIGINT.

    Args:
        flags: What the command line gave, by field name; None for what it did not.

    Returns:
        The exit code: 0 after a signal, 1 when it cannot listen, 2 for a wrong setting; for the last two one line on
        standard error says why.
    """
    worker = Worker.current()
    if worker is not None:
        worker.end_with_parent()
    try:
        settings = load_settings(HttpSettings, flags)
    except SettingsError as error:
        complain(SERVICE, error)
        return 2
    logger = configure_logging(SERVICE, level=settings.log_level, log_format=settings.log_format)
    logging.getLogger("uvicorn.error").addFilter(LogBound())
    with ExitStack() as resources:
        try:
            channel = settings.gateway_access().channel(
                settings.gateway, gateway_channel_options(settings.gateway, settings.max_message_bytes)
            )
            resources.callback(channel.close)
            server = HttpServer(settings, channel, logger)
            server.listen(shared=worker is not None)
            resources.callback(server.close)
        except (AccessInvalid, SettingsError) as error:
            complain(SERVICE, error)
            return 2
        except (AddressUnavailable, OSError) as error:
            complain(SERVICE, error)
            return 1
        if worker is not None:
            worker.wait_for_start()
        asyncio.run(server.serve())
    logger.info("stopped")
    return 0


class HttpServer:
    """Serves JSON over HTTP before one gateway.

    Args:
        settings: Everything that it was told.
        channel: To the gateway; closed by whoever opened it.
        logger: Where events are logged.

    Attributes:
        port: Where it listens, 0 before it does.
        app: What answers.
        metrics: What is counted.
    """

    def __init__(self, settings: HttpSettings, channel: grpc.Channel, logger: FilteringBoundLogger) -> None:
        self.port = 0
        self._settings = settings
        self._logger = logger
        self.metrics = HttpMetrics(new_registry())
        self._metrics_endpoint: MetricsEndpoint | None = None
        self._socket: socket.socket | None = None
        self._tracer = open_tracer(settings, SERVICE, self.metrics.registry, logger)
        self.app = App(
            Calls(channel, max_wait_seconds=settings.max_wait_seconds),
            self.metrics,
            max_body_bytes=settings.max_body_bytes,
            body_seconds=settings.body_seconds,
            cors=Cors(settings.allowed_origins),
            logger=logger,
            tracer=self._tracer,
        )
        config = uvicorn.Config(
            self.app,
            http=functools.partial(Connection, head_seconds=settings.body_seconds),  # type: ignore[arg-type]
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            # What it tells of start and end we tell ourselves.
            log_level="warning",
            access_log=False,
            server_header=False,
            # Headers that proxies add decide nothing here.
            proxy_headers=False,
            # uvicorn refuses from this number on.
            limit_concurrency=settings.max_connections + 1,
            timeout_keep_alive=settings.idle_seconds,
            timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
            backlog=_BACKLOG,
        )
        self._tls: HttpTls | None = None
        if settings.tls_certificate is not None:
            self._tls = HttpTls(settings, SecurityMetrics(self.metrics.registry), logger)
            config.load()
            # Given to uvicorn ready-made, because its files may change while it serves.
            config.ssl = self._tls.context
        self._server = _Server(config)

    @property
    def address(self) -> str:
        """Where it listens, ``host:port``, with the real port once it does."""
        return join_address(self._settings.host, self.port)

    @property
    def started(self) -> bool:
        """Whether connections are taken."""
        return self._server.started

    def listen(self, *, shared: bool = False) -> None:
        """Takes the port, and serves metrics where that is asked for.

        Args:
            shared: True where several processes serve the port.

        Raises:
            AddressUnavailable: Another process listens there.
        """
        host, port = self._settings.host, self._settings.port
        if not shared:
            require_free(host, port, SERVICE)
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._socket = socket.socket(family, kind, protocol)
            # Of several processes the one that reserved the port has set the other option, so this one must not.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
        except OSError as error:
            raise AddressUnavailable(join_address(host, port), SERVICE, error.strerror or str(error)) from error
        self.port = int(self._socket.getsockname()[1])
        if self._settings.metrics_port:
            self._metrics_endpoint = MetricsEndpoint(
                self.metrics.registry, host, self._settings.metrics_port, self._not_ready_reason
            )

    async def serve(self, *, signals: bool = True) -> None:
        """Serves until a signal comes, or `stop` is called.

        Args:
            signals: False leaves SIGTERM and SIGINT alone, for tests.
        """
        assert self._socket is not None, "listen() comes first"
        loop = asyncio.get_running_loop()
        if signals:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._on_signal, number)
        if self._tls is not None:
            self._tls.watch()
        announcing = asyncio.ensure_future(self._announce())
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            announcing.cancel()

    def stop(self) -> None:
        """Stops taking requests, and ends when those in flight have ended or their grace is over."""
        self._server.should_exit = True

    def close(self) -> None:
        """Gives the ports back, and sends the last traces."""
        if self._tracer is not None:
            self._tracer.close(min(self._settings.grace_seconds, CLOSE_SECONDS))
        if self._tls is not None:
            self._tls.close()
        if self._metrics_endpoint is not None:
            self._metrics_endpoint.close()
        if self._socket is not None:
            self._socket.close()

    def _not_ready_reason(self) -> str | None:
        if self.app.draining:
            return "stopping"
        return None if self.started else "starting"

    def _on_signal(self, number: int) -> None:
        self._logger.info("stopping", signal=signal.Signals(number).name)
        if self.app.draining:
            # The second one: whoever stops us is in a hurry.
            self._server.should_exit = self._server.force_exit = True
            return
        self.app.draining = True
        asyncio.get_running_loop().call_later(self._settings.readiness_seconds, self.stop)

    async def _announce(self) -> None:
        while not self.started:
            await asyncio.sleep(0.005)
        endpoint = self._metrics_endpoint
        metrics_address = endpoint.address if endpoint is not None else None
        self._logger.info("serving", address=self.address, gateway=self._settings.gateway)
        announce(announcement(SERVICE, self.address, metrics_address), self._logger)


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, which raise a signal anew once it has ended."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield
