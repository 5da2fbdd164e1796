"""Connections of the HTTP face."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """uvicorn's connection, which ends when the head of a request does not come in time.

    uvicorn waits for the first request, and for the rest of any that began, as long as the connection stands: whoever
    opens as many connections as are taken and says nothing would keep everybody else out.

    Args:
        arguments: As uvicorn gives them.
        head_seconds: How long the head of a request may take, from the connection or its first byte on.
        options: As uvicorn gives them.
    """

    def __init__(self, *arguments: Any, head_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_seconds = head_seconds
        self._giving_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Waits for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Waits for the rest of a head that has begun, no longer for one that is there."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_longer()
        elif self._giving_up is None:
            # Also when it is the rest of a body that was answered unread.
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        self._wait_no_longer()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._giving_up = self.loop.call_later(self._head_seconds, self.transport.close)

    def _wait_no_longer(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
