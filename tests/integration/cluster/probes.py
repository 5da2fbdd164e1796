"""What probes in a namespace of their own heard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.integration.cluster.pods import Cluster, Pod


@dataclass
class Probes:
    """Answers as they come; see `prober`."""

    heard: list[dict[str, Any]] = field(default_factory=list)

    def take(self, _name: str, line: str) -> None:
        """Keeps a line of the prober's."""
        if line.startswith("{"):
            self.heard.append(json.loads(line))

    def of(self, pod: Pod, service: str, start: float = 0.0, end: float = float("inf")) -> list[str]:
        """What a pod was heard to say in probes that began after a moment and ended before another."""
        return [
            each["status"]
            for each in list(self.heard)
            if each["address"] == pod.address
            and each["service"] == service
            and each["asked"] >= start
            and each["answered"] < end
        ]


@contextmanager
def probing(cluster: Cluster, pods: Sequence[Pod]) -> Iterator[Probes]:
    """Probes pods for their health while the block runs."""
    probes = Probes()
    process = cluster.helper(
        "prober", "tests.integration.cluster.prober", *(pod.address for pod in pods), on_line=probes.take
    )
    try:
        yield probes
    finally:
        process.terminate()
        process.wait_stopped()
