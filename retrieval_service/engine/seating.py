"""Which sources are asked for a person, in which order they are seated, and how many places each may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from twostage.candidates.source import Source

COLD_START_SHARES: Mapping[Source, float] = {
    Source.TRENDING: 0.5,
    Source.REPRESENTATIVES: 0.05,
}
"""What is reserved for others than popularity where nothing is known of a person and the request states no quotas: half
of the places for what is liked now, a few that let the person be found out about. New arrivals have none: on
MovieTweetings even a twentieth for them costs recall (docs/evaluation.md)."""

_RESERVING = (
    Source.INTEREST_VECTORS,
    Source.NEIGHBOURS,
    Source.INTEREST_TAGS,
    Source.TRENDING,
    Source.NEW,
    Source.REPRESENTATIVES,
    Source.POPULAR,
)
"""The order in which sources other than the leading one are seated."""

_FILLING = (Source.INTEREST_TAGS, Source.POPULAR)


@dataclass(frozen=True)
class Known:
    """What is known of the person who is asked for.

    Args:
        history: There is a history, and so a user vector.
        tags: Some interest tag is known to the catalogue.
        tag_vector: It is known by a vector, so that interest tags search the index.
        included: Some items are asked for by id.
    """

    history: bool
    tags: bool
    tag_vector: bool
    included: bool

    @property
    def leader(self) -> Source:
        """The source that fills what the others leave."""
        if self.history:
            return Source.USER_VECTOR
        return Source.INTEREST_TAGS if self.tags else Source.POPULAR


def seating(
    known: Known, count: int, quotas: Mapping[Source, int], shares: Mapping[Source, float]
) -> list[tuple[Source, int]]:
    """The sources in the order in which they are seated, each with the most places that it may take.

    1. What is included by id takes its places first.
    2. Then every source beside the leading one that has a quota: stating a quota reserves that many places, as far as
       the source can fill them. Where the request states no quotas, the bundle's shares of ``count``, rounded down,
       stand for them; for people of whom nothing is known :data:`COLD_START_SHARES`; for interest tags that no vector
       is known of, nothing.
    3. The leading source fills what is left: the user vector; without a history the interest tags, as far as they are
       known; without those popularity.
    4. Where the leading source may end before the places do, interest tags and popularity fill up.

    A request's quota is the most that a source brings, wherever it is seated. So ``count`` candidates are found
    whenever the filter leaves as many, unless the quotas of the leading source and of those that fill up forbid it.

    For example ``count`` 100 with the quotas ``NEIGHBOURS`` 30 and ``USER_VECTOR`` 50, for a person with a history:
    neighbours 30, user vector 50, popularity 100, of which 20 find a place, or more when neighbours of recent items
    are near to the user vector too.

    Args:
        known: What is known of the person.
        count: How many candidates are asked for.
        quotas: The request's.
        shares: The bundle's.
    """
    leader = known.leader
    reserved = quotas or {source: int(share * count + 1e-9) for source, share in _shares(known, shares).items()}
    leading = quotas.get(leader, count)
    seats = [(Source.INCLUDED, quotas.get(Source.INCLUDED, count))] if known.included else []
    if reserved:
        seats += [(source, reserved[source]) for source in _RESERVING if source in reserved and source is not leader]
    seats.append((leader, leading))
    if leading < count or (leader is Source.INTEREST_TAGS and not known.tag_vector):
        fill = [source for source in _FILLING if source is not leader and source not in quotas]
        seats += [(source, count) for source in fill]
    # Tags that nobody knows bring nothing.
    unknown = None if known.tags else Source.INTEREST_TAGS
    return [(source, min(limit, count)) for source, limit in seats if limit and source is not unknown]


def _shares(known: Known, shares: Mapping[Source, float]) -> Mapping[Source, float]:
    if known.history or known.tag_vector:
        return shares
    return {} if known.tags else COLD_START_SHARES
