"""One look at a server's metrics."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]

_PATH = "/metrics"
_ACCEPT = "text/plain;version=0.0.4"
# What a server of ours exposes is far below; a stranger's endless answer must not fill the memory.
_MAX_BYTES = 16 * 2**20
_LATE = "timed out"


@dataclass(frozen=True)
class Sample:
    """What one server counted up to a moment.

    Args:
        address: Where its metrics are, ``host:port``.
        seconds: When they were read, by a monotonic clock.
        values: By series, as it is exposed (``…_total``, ``…_bucket``), and by labels.
        error: Why there are none, empty when there are.
    """

    address: str
    seconds: float
    values: Mapping[str, Mapping[Labels, float]] = field(default_factory=lambda: MappingProxyType({}))
    error: str = ""

    @property
    def service(self) -> str:
        """The server's name as its metrics say it, else its address."""
        for labels in self.values.get("twostage_build_info", ()):
            return dict(labels).get("service", self.address)
        return "http" if "twostage_http_requests_in_flight" in self.values else self.address


def scrape(address: str, seconds: float, timeout_seconds: float) -> Sample:
    """Reads a server's metrics; what goes wrong is in the sample.

    Args:
        address: ``host:port``.
        seconds: Now, by a monotonic clock.
        timeout_seconds: How long it may take to connect, and then to answer.
    """
    connection = http.client.HTTPConnection(address, timeout=timeout_seconds)
    # The connection's own timeout is of each read, and whoever drips would be read from for ever.
    late = threading.Event()
    ending: threading.Timer | None = None
    try:
        connection.connect()
        # Kept, because the connection forgets its socket once the headers are read.
        ending = threading.Timer(timeout_seconds, _cut_off, (connection.sock, late))
        ending.start()
        connection.request("GET", _PATH, headers={"Accept": _ACCEPT})
        response = connection.getresponse()
        body = response.read(_MAX_BYTES + 1)
        if late.is_set():
            return Sample(address, seconds, error=_LATE)
        if response.status != http.client.OK:
            return Sample(address, seconds, error=f"{_PATH}: {response.status} {response.reason}")
        if len(body) > _MAX_BYTES:
            return Sample(address, seconds, error=f"{_PATH}: more than {_MAX_BYTES} bytes")
        return Sample(address, seconds, parse(body.decode("utf-8")))
    except (OSError, http.client.HTTPException) as error:
        return Sample(address, seconds, error=_LATE if late.is_set() else str(error) or type(error).__name__)
    except ValueError:
        return Sample(address, seconds, error=f"{_PATH}: no metrics of Prometheus")
    finally:
        if ending is not None:
            ending.cancel()
        connection.close()


def _cut_off(connected: socket.socket, late: threading.Event) -> None:
    late.set()
    # It may have ended in this moment.
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def parse(text: str) -> dict[str, dict[Labels, float]]:
    """Reads Prometheus's text: values by series and labels.

    Raises:
        ValueError: It is none.
    """
    values: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                # Whoever reads quantiles from it relies on that it is a number.
                float(sample.labels.get("le", ""))
            values.setdefault(sample.name, {})[frozenset(sample.labels.items())] = float(sample.value)
    return values
