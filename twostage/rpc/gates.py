"""What stands between a call and its method: who are you, and is there room?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Leave = Callable[[], None]
"""Called when a call that was let in has ended, however it ended."""


class Gate(Protocol):
    """Lets calls of unary methods in or refuses them; asked in the thread that will work on the call."""

    def enter(self, method: str, context: Any) -> Leave | None:
        """Lets a call in.

        Args:
            method: ``/package.Service/Method``.
            context: The `grpc.ServicerContext`.

        Returns:
            What is called in the same thread when the call has ended; None when nothing is.

        Raises:
            TwostageError: The call is refused.
        """
