"""TLS of the HTTP face, whose files change while it serves."""

from __future__ import annotations

import ssl

from structlog.typing import FilteringBoundLogger

from gateway.http.settings import HttpSettings
from twostage.rpc.security.identity import IdentityFiles, read_identity
from twostage.rpc.security.metrics import SecurityMetrics
from twostage.rpc.security.private_files import warn_if_others_may_read
from twostage.rpc.security.reloading import Reloaded
from twostage.rpc.settings import SettingsError

_SETTING = "tls_certificate"


class HttpTls:
    """What connections are encrypted with: each new one with the newest files that are in order.

    Args:
        settings: Which files; a certificate is among them.
        metrics: Told when the files change and when the certificate ends.
        logger: Told when the files change.

    Attributes:
        context: For the listening socket; it hands each connection over to the newest one.

    Raises:
        SettingsError: The files are not what they should be.
    """

    def __init__(self, settings: HttpSettings, metrics: SecurityMetrics, logger: FilteringBoundLogger) -> None:
        self._files = IdentityFiles(
            "tls", "client_ca", settings.tls_certificate, settings.tls_key, settings.tls_client_ca
        )
        self._seconds = settings.reload_seconds
        self._metrics = metrics
        self._newest: Reloaded[tuple[ssl.SSLContext, float | None]] = Reloaded(
            _SETTING, self._files.paths, lambda: (_read(self._files), self._files.paths), metrics, logger
        )
        self._newest.on_change(self._show)
        self._show()
        self.context = self._newest.current[0]
        self.context.sni_callback = self._hand_over
        if settings.tls_key is not None:
            warn_if_others_may_read(settings.tls_key, logger)

    def watch(self) -> None:
        """Looks at the files now and then."""
        self._newest.watch(self._seconds)

    def close(self) -> None:
        """Stops looking."""
        self._newest.close()

    def _hand_over(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called in every handshake, also where the client names no server."""
        del name, context
        # Certificate and authorities alike: what a context once believes it cannot be told to forget.
        connection.context = self._newest.current[0]

    def _show(self) -> None:
        self._metrics.show_expiry(_SETTING, self._newest.current[1])


def _read(files: IdentityFiles) -> tuple[ssl.SSLContext, float | None]:
    """A context, and when its certificate ends.

    Raises:
        SettingsError: A file is not what it should be.
        OSError: A file cannot be read.
    """
    identity = read_identity(files)
    assert files.certificate is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # The password is asked for on the terminal otherwise.
        context.load_cert_chain(files.certificate, files.key, password=lambda: b"")
        if files.authority is not None:
            context.load_verify_locations(files.authority)
    except ssl.SSLError as error:
        # They changed since they were read, or OpenSSL wants more of them, e.g. a longer key.
        raise SettingsError(
            f"{_SETTING}: expected a certificate, key and authority that OpenSSL takes, received {error.reason}"
        ) from error
    if files.authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        # Else a client could go on with a session that began before its authority was taken out.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context, identity.expires_at
