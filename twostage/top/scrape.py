"""One look at a server's metrics."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]

_PATH = "/metrics"
_ACCEPT = "text/plain;version=0.0.4"
# What a server of ours exposes is far below; a stranger's endless answer must not fill the memory.
_MAX_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Sample:
    """What one server counted up to a moment.

    Args:
        address: Where its metrics are, ``host:port``.
        seconds: When they were read, by a monotonic clock.
        values: By series, as it is exposed (``…_total``, ``…_bucket``), and labels.
        error: Why there are none, empty when there are.
    """

    address: str
    seconds: float
    values: Mapping[tuple[str, Labels], float] = field(default_factory=lambda: MappingProxyType({}))
    error: str = ""

    @property
    def service(self) -> str:
        """The server's name as its metrics say it, else its address."""
        for name, labels in self.values:
            if name == "twostage_build_info":
                return dict(labels).get("service", self.address)
            if name == "twostage_http_requests_in_flight":
                return "http"
        return self.address


def scrape(address: str, seconds: float, timeout_seconds: float) -> Sample:
    """Reads a server's metrics; what goes wrong is in the sample.

    Args:
        address: ``host:port``.
        seconds: Now, by a monotonic clock.
        timeout_seconds: How long each step may take.
    """
    connection = http.client.HTTPConnection(address, timeout=timeout_seconds)
    try:
        connection.request("GET", _PATH, headers={"Accept": _ACCEPT})
        response = connection.getresponse()
        body = response.read(_MAX_BYTES + 1)
        if response.status != http.client.OK:
            return Sample(address, seconds, error=f"{_PATH}: {response.status} {response.reason}")
        if len(body) > _MAX_BYTES:
            return Sample(address, seconds, error=f"{_PATH}: more than {_MAX_BYTES} bytes")
        return Sample(address, seconds, parse(body.decode("utf-8")))
    except (OSError, http.client.HTTPException) as error:
        return Sample(address, seconds, error=str(error) or type(error).__name__)
    except ValueError:
        return Sample(address, seconds, error=f"{_PATH}: no metrics of Prometheus")
    finally:
        connection.close()


def parse(text: str) -> dict[tuple[str, Labels], float]:
    """Reads Prometheus's text.

    Raises:
        ValueError: It is none.
    """
    return {
        (sample.name, frozenset(sample.labels.items())): float(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
