"""What requests need of one generation: its items and what its actions mean."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.engine.row_cache import RowCache
from gateway.engine.taste import TasteRule
from twostage.bundle.generation import Generation


class Catalogue:
    """One generation's ``items/``, mapped and ready; safe to use from many threads.

    Everything is mapped now and not when first used, so that a file that does not fit shows before requests come.

    Args:
        generation: Opened, its ``items/`` verified by whoever opened it.
        taste_weights: How much of a history each recorded action may take, as :class:`TasteRule` says.

    Raises:
        BundleError: A file of ``items/`` is not what it should be.

    Attributes:
        generation: The generation.
        rows: Its ids to rows, with the hot ones remembered.
        taste: What of a person's events says something about their taste.
        actions: The names under which events are taken.
    """

    def __init__(self, generation: Generation, taste_weights: Mapping[str, float] | None = None) -> None:
        self.generation = generation
        self.rows = RowCache(generation.ids)
        schema = generation.manifest.action_schema
        self.taste = TasteRule(schema, taste_weights)
        self.actions = tuple(dict.fromkeys((*generation.manifest.recorded_actions, *schema.recorded_names)))
        for part in (generation.titles, generation.popularity, generation.popular_rows):
            len(part)
        _ = generation.attributes

    @property
    def number(self) -> int:
        """The generation's number."""
        return self.generation.number

    @property
    def item_count(self) -> int:
        """How many items it has."""
        return self.generation.item_count
