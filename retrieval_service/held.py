"""A generation that retrieval answers from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from retrieval_service.engine.engine import RetrievalEngine
from twostage.bundle.generation import Generation


def _nothing() -> None:
    """Mapped files are let go of with the last reference."""


@dataclass(frozen=True, eq=False)
class Held:
    """A generation that can be asked; ``close`` lets go of what its index holds beside files."""

    generation: Generation
    engine: RetrievalEngine
    close: Callable[[], None] = _nothing

    @property
    def number(self) -> int:
        """The generation's number."""
        return self.generation.number

    @property
    def item_count(self) -> int:
        """How many items it has."""
        return self.generation.item_count
