"""What a caller in a namespace got, answer by answer."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.integration.cluster.caller import COUNT
from tests.integration.cluster.pods import Cluster

_FULL = "RUNG_FULL"


@dataclass
class Load:
    """Answers as they come.

    Args:
        answers: What `caller` wrote, one after the other.
        broken: Lines that are none of its.
    """

    answers: list[dict[str, Any]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def take(self, _name: str, line: str) -> None:
        """Keeps a line of the caller's."""
        try:
            self.answers.append(json.loads(line))
        except ValueError:
            self.broken.append(line)

    def since(self, moment: float) -> list[dict[str, Any]]:
        """The answers to what was due after a moment."""
        return [answer for answer in list(self.answers) if answer["due"] >= moment]

    def failed(self, moment: float = 0.0) -> Counter[str]:
        """Requests without an answer, by what was said instead."""
        return Counter(f"{each['name']}: {each['why']}" for each in self.since(moment) if not each["items"])

    def below_full(self, moment: float = 0.0) -> Counter[str]:
        """Answers below the top rung, by the reason."""
        return Counter(
            f"{each['name']}: {each['why']}" for each in self.since(moment) if each["items"] and each["name"] != _FULL
        )

    def full(self, moment: float) -> bool:
        """Whether there are answers to what was due after a moment and all stand on FULL."""
        since = self.since(moment)
        return bool(since) and all(each["name"] == _FULL for each in since)

    def differing(self) -> list[str]:
        """What is wrong with answers: too few items, one twice, or another list than the same question got before."""
        known: dict[tuple[int, int], list[str]] = {}
        wrong = []
        for each in list(self.answers):
            items = each["items"]
            if not items:
                continue
            if len(set(items)) != COUNT:
                wrong.append(f"{len(set(items))} items instead of {COUNT}")
            if each["name"] == _FULL and known.setdefault((each["generation"], each["position"]), items) != items:
                wrong.append(f"question {each['position']} was answered in two ways")
        return wrong


@contextmanager
def load(cluster: Cluster, rate: float, target: str = "dns:///gateway:50050", **flags: object) -> Iterator[Load]:
    """Calls the gateways on schedule while the block runs; what is under way ends before it is left."""
    running = Load()
    arguments = [text for flag, value in flags.items() for text in (f"--{flag.replace('_', '-')}", str(value))]
    process = cluster.helper(
        "caller",
        "tests.integration.cluster.caller",
        *("--target", target, "--rate", str(rate)),
        *arguments,
        on_line=running.take,
    )
    try:
        yield running
    finally:
        process.terminate()
        process.wait_stopped()


def now() -> float:
    """The moment, by the clock that the caller uses."""
    return time.monotonic()
