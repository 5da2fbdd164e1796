"""What a caller asks for, checked and free of transport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from twostage.bundle.filters import Filter
from twostage.features.context import Context
from twostage.features.diversity import Diversity

MAX_COUNT = 200
"""The most recommendations that one request may ask for."""
DEFAULT_COUNT = 20
"""How many recommendations a request gets that does not say."""


@dataclass(frozen=True, slots=True)
class RecommendRequest:
    """A request for recommendations whose fields are within the contract's bounds.

    Args:
        user_id: Who; empty for nobody in particular.
        recent_item_ids: The history for this request, oldest first; replaces the stored one unless empty.
        interest_tags: What a person without a history cares for.
        count: How many, 1..200.
        context: Where and when; its time is always set.
        filter: Which items may be recommended.
        exclude_item_ids: Items not to recommend; unknown ids are ignored.
        include_seen: True lets items through that the person has already seen.
        diversity: How the list is spread.
        attributes: Attributes to return with each item.
        explain: True asks for reasons with each item.
        trace: True asks how each stage moved each item.
        ranker: A ranker of the bundle; its default when empty.
        blend: How much each action counts, finite and 0 or more; the ranker's own weights when empty.
        pinned_item_ids: Items that stand first, in this order, unless they are excluded; unknown ids are ignored.
    """

    user_id: str = ""
    recent_item_ids: Sequence[str] = ()
    interest_tags: Sequence[str] = ()
    count: int = DEFAULT_COUNT
    context: Context = field(default_factory=Context)
    filter: Filter = field(default_factory=Filter)
    exclude_item_ids: Sequence[str] = ()
    include_seen: bool = False
    diversity: Diversity = field(default_factory=Diversity)
    attributes: Sequence[str] = ()
    explain: bool = False
    trace: bool = False
    ranker: str = ""
    blend: Mapping[str, float] = field(default_factory=dict)
    pinned_item_ids: Sequence[str] = ()
