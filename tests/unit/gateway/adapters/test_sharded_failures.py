from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.engine.ladder import StageFailure, StageLate, StageUnavailable, StageWithoutGeneration
from tests.unit.gateway.adapters.asked_shards import ITEM_COUNT, ask, numbers, user_vector
from tests.unit.gateway.adapters.shards import late, serving
from tests.unit.gateway.catalogue import publish_items
from twostage.bundle.generation import Generation
from twostage.errors import GenerationNotLoaded, InvalidField, NotReady
from twostage.v1 import retrieval_pb2


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    path: Path = tmp_path_factory.mktemp("store")
    return publish_items(path, popularity=[1.0] * ITEM_COUNT)


def raising(error: Exception) -> Callable[[Any], Any]:
    def answer(_response: Any) -> Any:
        raise error

    return answer


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (
            NotReady("loading"),
            StageUnavailable,
            "retrieval unavailable: shard 1 of 3: UNAVAILABLE: not ready: loading",
        ),
        (
            GenerationNotLoaded(1, [5, 6]),
            StageWithoutGeneration,
            "retrieval unavailable: shard 1 of 3: generation 1 is not loaded there, held: 5, 6",
        ),
        (
            ValueError("a secret of the shard"),
            StageUnavailable,
            "retrieval unavailable: shard 1 of 3: INTERNAL: internal error",
        ),
    ],
)
def test_one_shard_that_fails_is_a_failure_that_names_it(
    generation: Generation, error: Exception, kind: type[StageFailure], reason: str
) -> None:
    script = user_vector(numbers(1), change={1: raising(error)})
    with serving(script) as (_, targets, _servers), pytest.raises(StageFailure) as caught:
        ask(generation, targets)
    assert type(caught.value) is kind
    assert caught.value.reason == reason


def test_what_a_shard_refuses_is_told_in_its_words(generation: Generation) -> None:
    script = user_vector(numbers(1), change={2: raising(InvalidField("filter.conditions[0]", "this", "that"))})
    with (
        serving(script) as (_, targets, _servers),
        pytest.raises(InvalidField, match=r"^filter.conditions\[0\]: expected this, received 'that'$"),
    ):
        ask(generation, targets)


def test_one_late_shard_is_late_and_named(generation: Generation) -> None:
    script = user_vector(numbers(1), change={2: late})
    with (
        serving(script) as (_, targets, _servers),
        pytest.raises(StageLate, match=r"^retrieval late: shard 2 of 3: no answer within \d+ ms$"),
    ):
        ask(generation, targets, timeout_seconds=0.1)


def test_one_shard_that_is_gone_is_named_without_its_address(generation: Generation) -> None:
    with serving(user_vector(numbers(1))) as (_, targets, servers):
        ask(generation, targets)
        servers[0].stop(0)
        with pytest.raises(StageUnavailable) as caught:
            ask(generation, targets)
    assert caught.value.reason == "retrieval unavailable: shard 0 of 3: cannot be reached"


def test_targets_in_another_order_than_the_shards_are_refused(generation: Generation) -> None:
    with (
        serving(user_vector(numbers(1)), order=[0, 2, 1]) as (_, targets, _servers),
        pytest.raises(StageUnavailable) as caught,
    ):
        ask(generation, targets)
    assert caught.value.reason == (
        "retrieval unavailable: shard 1 of 3: its target holds shard 2 of 3; "
        "retrieval's targets are to be the shards in their order"
    )


def changed(**fields: Any) -> Callable[[Any], Any]:
    def change(response: Any) -> Any:
        response.MergeFrom(type(response)(**fields))
        return response

    return change


def without_lists(response: Any) -> Any:
    del response.lists[:]
    return response


def with_short_scores(response: Any) -> Any:
    del response.lists[0].scores[-1:]
    return response


def with_codes(response: Any) -> Any:
    response.lists[0].code_keys[:] = response.lists[0].keys
    response.lists[0].pool_count = 5
    return response


LIST = retrieval_pb2.SourceList


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (changed(generation=6), "shard 1 of 3: expected an answer of generation 1, received 6"),
        (changed(allowed_count=59), "filter and exclusions leave 59 or 60 rows"),
        (without_lists, "shard 1 did not search for what the others searched for"),
        (with_codes, "shard 1 found the rows of USER_VECTOR in another way than the others"),
        (with_short_scores, "columns of USER_VECTOR differ in length"),
        (changed(lists=[LIST(source="SOURCE_USER_VECTOR")]), "shard 1 brought two lists of one source and group"),
        (changed(lists=[LIST(source="SOURCE_NEW", rows=[60], scores=[0.0])]), "row 60 of NEW, of 60 items"),
        (changed(lists=[LIST(source=31)]), "a list of source 31, which this gateway does not know"),  # type: ignore[arg-type]
    ],
)
def test_answers_that_cannot_be_true_are_not_used(
    generation: Generation, change: Callable[[Any], Any], why: str
) -> None:
    with (
        serving(user_vector(numbers(1), change={1: change})) as (_, targets, _servers),
        pytest.raises(StageUnavailable, match=re.escape(why)),
    ):
        ask(generation, targets)
