"""Answers of every kind, served once and logged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.engine.budget import Budget
from gateway.engine.plan import Exploration, Overrides, Plan, Rival
from gateway.engine.request import RecommendRequest
from gateway.engine.response import RecommendResponse
from tests.unit.training.replay.served import World, world
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.store import Store
from twostage.features.context import Context
from twostage.features.diversity import Cap, Diversity
from twostage.impressions.impression import Impression
from twostage.impressions.log import Log, open_log

NOW = Context(surface="home", device="phone", locale="de-AT", time_seconds=1_700_500_000, attributes={"page": "ü"})
IDS = [f"item-{row}" for row in range(1, 17)]
FILTER = Filter((Condition("language", any_of=("eng", "fre")), Condition("year", minimum=1920.5)))

REQUESTS = {
    "a person": RecommendRequest("ann", context=NOW),
    "nobody": RecommendRequest(context=NOW),
    "a history in the request": RecommendRequest(recent_item_ids=IDS, context=NOW),
    "a short history": RecommendRequest(recent_item_ids=IDS[:1], context=NOW, count=7),
    "tags": RecommendRequest(interest_tags=["crime", "no such tag"], context=NOW),
    "a filter": RecommendRequest("ann", filter=FILTER, context=NOW),
    "a filter that leaves few": RecommendRequest(
        "ann", filter=Filter((Condition("year", minimum=2020.0, maximum=2024.0),)), context=NOW, count=50
    ),
    "values that must not be there": RecommendRequest(
        "ann", filter=Filter((Condition("tags", none_of=("crime", "poetry")),)), context=NOW
    ),
    "exclusions": RecommendRequest("ann", exclude_item_ids=[f"item-{row}" for row in range(50, 250)], context=NOW),
    "seen items": RecommendRequest("ann", include_seen=True, context=NOW),
    "pins": RecommendRequest("ann", pinned_item_ids=["item-201", "item-7", "unknown", "item-201"], context=NOW),
    "a blend": RecommendRequest("ann", blend={"rated": 0.1, "to_read": 3.0}, context=NOW),
    "diversity": RecommendRequest("ann", diversity=Diversity(0.4), context=NOW),
    "caps": RecommendRequest("ann", diversity=Diversity(0.0, (Cap("tags", 2), Cap("language", 5))), context=NOW),
    "everything": RecommendRequest(
        "ann",
        filter=FILTER,
        exclude_item_ids=["item-66"],
        pinned_item_ids=["item-90"],
        blend={"liked": 1.0},
        diversity=Diversity(0.2, (Cap("tags", 4),)),
        interest_tags=["crime"],
        ranker="default",
        context=NOW,
        count=33,
    ),
    "a trace": RecommendRequest("ann", trace=True, context=NOW),
    "an unknown time": RecommendRequest("ann"),
}
PLANS = {
    "quotas": Plan(candidate_count=40, source_quotas={"neighbours": 15, "popular": 5, "user_vector": 30}),
    "fewer wanted than asked for": Plan(candidate_count=5),
    "overrides": Plan(candidate_count=60, overrides=Overrides(blend={"to_read": 1.0}, diversity_strength=0.3)),
    "exploration": Plan(candidate_count=90, exploration=Exploration(0.5, 0.6, 30)),
    "interleaving": Plan(
        candidate_count=60,
        overrides=Overrides(diversity_strength=0.2),
        rivals=(
            Rival("a", Overrides(diversity_strength=0.2)),
            Rival("b", Overrides(blend={"to_read": 1.0}, diversity_strength=0.7)),
        ),
    ),
}


class Hurried(Budget):
    """Time for some candidates only."""

    def affordable_candidates(self, wanted_count: int) -> int:
        return min(wanted_count, 25)


@dataclass(frozen=True)
class Served:
    """What was served and logged.

    Args:
        store: Of the generation.
        responses: By what they were about.
        log: The log.
        given: What the ranker was given for each call, in order.
    """

    store: Store
    responses: dict[str, RecommendResponse]
    log: Log
    given: list[dict[str, NDArray[np.generic]]]

    def impression(self, about: str) -> Impression:
        """The logged answer."""
        return self.impressions[self.responses[about].request_id]

    @property
    def impressions(self) -> dict[str, Impression]:
        """All logged answers by their names."""
        from twostage.impressions.batches import impressions_of  # noqa: PLC0415 - only here

        return {each.request_id: each for batch in self.log.impressions() for each in impressions_of(batch)}


def serve_all(asked: World) -> dict[str, RecommendResponse]:
    responses = {}

    def ask(about: str, request: RecommendRequest, budget: Budget | None = None) -> None:
        responses[about] = asked.pipeline.recommend(request, budget or Budget(5.0))

    for about, request in REQUESTS.items():
        ask(about, request)
    usual = asked.plans.current
    for about, plan in PLANS.items():
        asked.plans.current = plan
        ask(f"{about} for ann", RecommendRequest("ann", context=NOW))
        ask(f"{about} with pins", RecommendRequest("ann", pinned_item_ids=["item-90", "item-201"], context=NOW))
        ask(f"{about} for nobody", RecommendRequest(context=NOW))
    asked.plans.current = usual
    ask("little time", RecommendRequest("ann", context=NOW), Hurried(5.0))
    ask("little time and pins", RecommendRequest("ann", pinned_item_ids=["item-201"], context=NOW), Hurried(5.0))
    ask("little time and rules", REQUESTS["everything"], Hurried(5.0))
    for about in ("exploration", "interleaving"):
        asked.plans.current = PLANS[about]
        caps = Diversity(0.1, (Cap("tags", 2),))
        pinned = RecommendRequest("ann", pinned_item_ids=["item-90"], diversity=caps, context=NOW, count=15)
        ask(f"little time and {about}", pinned, Hurried(5.0))
    asked.plans.current = usual
    asked.route.ranking.is_down = True
    ask("no ranking", RecommendRequest("ann", context=NOW))
    ask("no ranking, with rules", REQUESTS["everything"])
    asked.route.retrieval.is_down = True
    ask("nothing, for ann", RecommendRequest("ann", context=NOW, count=30, exclude_item_ids=IDS))
    ask("nothing, for nobody", RecommendRequest(context=NOW, filter=FILTER, interest_tags=["travel"]))
    ask("nothing, with rules", RecommendRequest(pinned_item_ids=["item-5"], diversity=Diversity(0, (Cap("tags", 1),))))
    return responses


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder: Path = tmp_path_factory.mktemp("replay")
    with world(folder) as asked:
        responses = serve_all(asked)
    return Served(asked.store, responses, open_log(asked.folder), asked.scorer.given)
