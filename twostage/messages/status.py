"""Writes what a service says of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from twostage.v1 import common_pb2


class HeldGeneration(Protocol):
    """A generation that is served."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def item_count(self) -> int:
        """How many items it has."""


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

    def write(self, held: HeldGeneration | None, waiting_for: str = "loading") -> common_pb2.ServiceStatus:
        """Writes the status.

        Args:
            held: What is served; None while there is nothing.
            waiting_for: Why there is nothing yet.
        """
        status = common_pb2.ServiceStatus(
            service=self._service,
            version=self._version,
            uptime_seconds=time.monotonic() - self._started,
            serving=held is not None,
            libraries=self._libraries,
            detail=waiting_for if held is None else "",
        )
        if held is not None:
            status.generations.add(generation=held.number, item_count=held.item_count, active=True)
        return status
