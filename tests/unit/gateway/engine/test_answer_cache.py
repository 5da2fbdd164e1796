from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.answer_cache import FORGOTTEN_SECONDS, QUESTION_COUNT, AnswerCache
from gateway.engine.request import RecommendRequest
from twostage.bundle.filters import Condition, Filter
from twostage.features.context import Context
from twostage.features.diversity import Cap, Diversity


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def remember(
    cache: AnswerCache, request: RecommendRequest, name: str = "a", rows: Sequence[int] = (1, 2, 3), seen: int = 0
) -> None:
    scores = [1.0 / row for row in rows]
    cache.remember(request, request_id=name, generation=7, rows=rows, scores=scores, known=True, seen_count=seen)


def test_an_answer_comes_back_as_it_was() -> None:
    cache = AnswerCache()
    remember(cache, RecommendRequest("ann"), "first", rows=[5, 4_000_000_000], seen=3)
    found = cache.recall(RecommendRequest("ann"))
    assert found is not None
    assert (found.request_id, found.generation, found.known, found.seen_count) == ("first", 7, True, 3)
    assert (found.rows.tolist(), found.scores.tolist()) == ([5, 4_000_000_000], [0.2, 1 / 4_000_000_000])
    assert cache.recall(RecommendRequest("bob")) is None
    assert cache.recall(RecommendRequest()) is None


ANN = RecommendRequest("ann")


@pytest.mark.parametrize(
    "other",
    [
        replace(ANN, count=3),
        replace(ANN, recent_item_ids=["i1"]),
        replace(ANN, exclude_item_ids=["i1"]),
        replace(ANN, include_seen=True),
        replace(ANN, attributes=["tags"], explain=True, trace=True),
        replace(ANN, pinned_item_ids=["i1"]),
        replace(ANN, diversity=Diversity(0.5, (Cap("tags", 1),))),
        replace(ANN, context=Context(device="phone", time_seconds=5)),
    ],
)
def test_what_is_applied_anew_makes_no_other_question(other: RecommendRequest) -> None:
    cache = AnswerCache()
    remember(cache, ANN)
    assert cache.recall(other) is not None


@pytest.mark.parametrize(
    "other",
    [
        replace(ANN, filter=Filter((Condition("tags", any_of=("odd",)),))),
        replace(ANN, interest_tags=["odd"]),
        replace(ANN, context=Context(surface="home")),
        replace(ANN, ranker="deepfm"),
        replace(ANN, blend={"liked": 1.0}),
    ],
)
def test_another_question_has_another_answer(other: RecommendRequest) -> None:
    cache = AnswerCache()
    remember(cache, ANN, "plain")
    assert cache.recall(other) is None
    remember(cache, other, "other")
    assert [found and found.request_id for found in map(cache.recall, (ANN, other))] == ["plain", "other"]
    assert len(cache) == 1


def test_nobody_in_particular_gets_only_what_the_same_history_got() -> None:
    cache = AnswerCache()
    session = RecommendRequest(recent_item_ids=["i1", "i2"])
    remember(cache, session)
    assert cache.recall(replace(session, count=5, exclude_item_ids=["i9"])) is not None
    assert cache.recall(replace(session, recent_item_ids=["i2", "i1"])) is None
    assert cache.recall(replace(session, recent_item_ids=["i1, i2"])) is None
    assert cache.recall(RecommendRequest()) is None
    # Nor does a person get what somebody without a name got.
    assert cache.recall(replace(session, user_id="ann")) is None


def test_blends_are_the_same_in_any_order() -> None:
    cache = AnswerCache()
    remember(cache, RecommendRequest("ann", blend={"a": 1.0, "b": 2.0}))
    assert cache.recall(RecommendRequest("ann", blend={"b": 2.0, "a": 1.0})) is not None


def test_answers_are_used_for_a_while_by_a_clock_that_only_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    cache = AnswerCache(max_age_seconds=10, clock=clock)
    remember(cache, ANN)
    clock.now = 10
    assert cache.recall(ANN) is not None
    clock.now = 10.1
    assert cache.recall(ANN) is None
    assert (len(cache), cache.byte_count) == (0, 0)

    real = AnswerCache(max_age_seconds=10)
    remember(real, ANN)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert real.recall(ANN) is not None


def test_the_newest_questions_of_a_person_are_kept() -> None:
    cache = AnswerCache()
    asked = [replace(ANN, interest_tags=[str(number)]) for number in range(QUESTION_COUNT + 1)]
    for request in asked:
        remember(cache, request)
    assert [cache.recall(request) is None for request in asked] == [True] + [False] * QUESTION_COUNT


def test_who_asked_least_lately_goes_when_memory_is_full() -> None:
    cache = AnswerCache(max_bytes=5_000)
    for number in range(100):
        remember(cache, RecommendRequest(f"user-{number}"))
        assert cache.recall(RecommendRequest("user-0")) is not None
        assert cache.byte_count <= 5_000
    assert cache.recall(RecommendRequest("user-99")) is not None
    assert cache.recall(RecommendRequest("user-1")) is None
    assert 3 <= len(cache) <= 10


def test_no_memory_remembers_nothing_and_neither_do_empty_answers() -> None:
    cache = AnswerCache(max_bytes=0)
    remember(cache, ANN)
    assert cache.recall(ANN) is None
    cache = AnswerCache()
    remember(cache, ANN, rows=[])
    assert cache.recall(ANN) is None


def test_a_forgotten_person_is_gone_and_not_remembered_by_requests_that_were_under_way() -> None:
    clock = Clock()
    cache = AnswerCache(clock=clock)
    remember(cache, ANN)
    remember(cache, RecommendRequest("bob"))
    cache.forget("ann")
    cache.forget("never seen")
    assert cache.recall(ANN) is None
    remember(cache, ANN)
    assert cache.recall(ANN) is None
    assert cache.recall(RecommendRequest("bob")) is not None
    clock.now = FORGOTTEN_SECONDS
    remember(cache, ANN)
    assert cache.recall(ANN) is not None


def test_those_who_were_forgotten_are_not_kept_in_mind_for_ever() -> None:
    clock = Clock()
    cache = AnswerCache(clock=clock)
    for number in range(100):
        cache.forget(f"user-{number}")
        clock.now += FORGOTTEN_SECONDS / 10
    assert len(cache._forgotten) <= 10


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["remember", "recall", "forget", "wait"]),
            st.sampled_from(["", "ann", "bob", "eve"]),
            st.integers(0, 6),
            st.integers(0, 200),
        ),
        max_size=100,
    )
)
def test_its_bytes_are_those_of_what_it_holds_and_never_more_than_it_may(
    steps: list[tuple[str, str, int, int]],
) -> None:
    clock = Clock()
    cache = AnswerCache(max_bytes=6_000, max_age_seconds=50, clock=clock)
    for step, user_id, question, size in steps:
        request = RecommendRequest(user_id, interest_tags=[str(question)])
        if step == "remember":
            remember(cache, request, rows=range(1, size + 1))
        elif step == "recall":
            found = cache.recall(request)
            assert found is None or clock.now - found.at <= 50
        elif step == "forget":
            cache.forget(user_id)
            assert cache.recall(RecommendRequest("ann")) is None or user_id != "ann"
        else:
            clock.now += size
        assert 0 <= cache.byte_count <= 6_000
        assert (cache.byte_count == 0) == (len(cache) == 0)
    clock.now += 51
    for user_id in ("", "ann", "bob", "eve"):
        for question in range(7):
            assert cache.recall(RecommendRequest(user_id, interest_tags=[str(question)])) is None
    assert (len(cache), cache.byte_count) == (0, 0)


def test_the_estimate_of_its_memory_is_near_what_it_takes() -> None:
    rows = list(range(20))
    cache = AnswerCache(max_bytes=1 << 30)
    remember(cache, RecommendRequest("warm"))
    tracemalloc.start()
    try:
        for number in range(2000):
            request_id, scores = f"{number:032x}", [float(row) for row in rows]
            cache.remember(
                RecommendRequest(f"user-{number}"),
                request_id=request_id,
                generation=1,
                rows=rows,
                scores=scores,
                known=True,
                seen_count=3,
            )
        del request_id, scores
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 < taken / cache.byte_count < 1.3


def test_threads_may_use_it_at_once() -> None:
    cache = AnswerCache(max_bytes=20_000)

    def work(seed: int) -> None:
        for number in range(300):
            request = RecommendRequest(f"user-{(number * seed) % 50}", interest_tags=[str(number % 7)])
            remember(cache, request)
            cache.recall(request)
            if number % 10 == 0:
                cache.forget(request.user_id)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 3, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 <= cache.byte_count <= 20_000
