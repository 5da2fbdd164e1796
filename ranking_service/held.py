"""A generation that ranking answers from."""

from __future__ import annotations

from dataclasses import dataclass

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.scorer import Scorer


@dataclass(frozen=True, eq=False)
class Held:
    """An engine with the model server's scorer for its generation."""

    engine: RankingEngine
    scorer: Scorer

    @property
    def number(self) -> int:
        """The generation's number."""
        return self.engine.number

    @property
    def item_count(self) -> int:
        """How many items it has."""
        return self.engine.item_count
