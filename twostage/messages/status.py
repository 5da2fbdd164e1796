"""Writes what a service says of itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from twostage.v1 import common_pb2

_MAX_REFUSED = 10
_MAX_REASON_CHARS = 300


class HeldGeneration(Protocol):
    """A generation that is served."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def item_count(self) -> int:
        """How many items it has."""


class RefusedGeneration(Protocol):
    """A generation that was to be served and is not."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def reason(self) -> str:
        """Why it is not served."""


class StatusWriter:
    """Writes a service's status; its uptime counts from when this is made.

    Args:
        service: The service's name, e.g. ``retrieval``.
        version: The program's version; looked up by the caller once, for finding it reads the disk.
        libraries: Versions of the libraries that decide answers.
    """

    def __init__(self, service: str, version: str, libraries: Mapping[str, str]) -> None:
        self._service = service
        self._version = version
        self._libraries = dict(libraries)
        self._started = time.monotonic()

    def write(
        self,
        held: Sequence[HeldGeneration],
        waiting_for: str = "loading",
        *,
        refused: Iterable[RefusedGeneration] = (),
        preparing: int = 0,
    ) -> common_pb2.ServiceStatus:
        """Writes the status.

        Args:
            held: What is served, the active generation first; empty while there is nothing.
            waiting_for: Why there is nothing yet.
            refused: What was to be served and is not; the ten of the highest numbers are told.
            preparing: The generation that is being prepared, 0 for none.
        """
        status = common_pb2.ServiceStatus(
            service=self._service,
            version=self._version,
            uptime_seconds=time.monotonic() - self._started,
            serving=bool(held),
            libraries=self._libraries,
            detail="" if held else waiting_for,
            preparing_generation=preparing,
        )
        for one in sorted(held, key=lambda each: each.number, reverse=True):
            status.generations.add(generation=one.number, item_count=one.item_count, active=one is held[0])
        for refusal in sorted(refused, key=lambda each: each.number, reverse=True)[:_MAX_REFUSED]:
            status.refused.add(generation=refusal.number, reason=refusal.reason[:_MAX_REASON_CHARS])
        return status
