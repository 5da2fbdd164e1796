"""Every rung by a real fault of a real process under load, and the way back."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from tests.chaos.stack import COUNT, DEADLINE_SECONDS, Answered, Load, Stack
from twostage.v1 import gateway_pb2

RECOVERY_SECONDS = 2.0


def is_full(answer: Answered) -> bool:
    return answer.rung == "FULL"


def check_whole(load: Load) -> None:
    """Everybody was answered in time, with everything that was asked for, and told why where it was not in full."""
    assert load.errors == {}
    assert len(load.answers) == load.due_count
    assert load.p99(load.answers) < load.deadline_seconds
    for answer in load.answers:
        items = {each.item_id for each in answer.response.recommendations}
        assert len(items) == len(answer.response.recommendations) == COUNT
        assert bool(answer.response.rung_reason) == (not is_full(answer))


def check_recovery(load: Load, repaired_at: float) -> None:
    """From two seconds after the repair on everybody is answered in full."""
    load.until(is_full, after=repaired_at, seconds=RECOVERY_SECONDS + load.deadline_seconds)
    # Longer than any doubt: nobody falls down again.
    time.sleep(0.4)
    late = [answer.due - repaired_at for answer in load.between(repaired_at, float("inf")) if not is_full(answer)]
    assert max(late, default=0.0) < RECOVERY_SECONDS


def go_through(
    load: Load,
    break_it: Callable[[], None],
    repair: Callable[[], None],
    *,
    rung: str,
    meanwhile: Callable[[], None] = lambda: None,
) -> list[Answered]:
    """Breaks something under load until the rung is lower, repairs it, and waits until all are answered in full.

    Returns:
        The answers on the lower rung.
    """
    load.until(is_full, after=0, seconds=10)
    broken_at = time.perf_counter()
    break_it()
    load.until(lambda answer: answer.rung == rung, after=broken_at, seconds=3)
    time.sleep(0.5)
    meanwhile()
    repair()
    check_recovery(load, time.perf_counter())
    since = load.between(broken_at, float("inf"))
    # Down and up again; what was on its way in either moment may have been answered one way or the other.
    assert changes(since) <= 6
    lower = [answer for answer in since if not is_full(answer)]
    assert {answer.rung for answer in lower} == {rung}
    return lower


def changes(answers: Sequence[Answered]) -> int:
    return sum(before.rung != after.rung for before, after in pairwise(answers))


def median_seconds(answers: Sequence[Answered]) -> float:
    return statistics.median(answer.came - answer.due for answer in answers)


def test_ranking_that_is_killed_costs_a_rung_until_it_is_back(stack: Stack) -> None:
    with Load(stack) as load:
        lower = go_through(
            load, lambda: stack.kill("ranking"), lambda: stack.restart("ranking"), rung="RETRIEVAL_ORDER"
        )
    check_whole(load)
    assert all(answer.response.rung_reason.startswith("ranking ") for answer in lower)
    assert all(not item.action_scores for answer in lower for item in answer.response.recommendations)
    # What is gone fails at once, and soon is not even asked.
    assert median_seconds(lower) < DEADLINE_SECONDS / 10
    assert any("ranking resting: not asked after failures" in answer.response.rung_reason for answer in lower)


def test_retrieval_that_is_killed_leaves_earlier_answers_and_to_strangers_popular_items(stack: Stack) -> None:
    strangers: list[gateway_pb2.RecommendResponse] = []
    with Load(stack) as load:
        lower = go_through(
            load,
            lambda: stack.kill("retrieval"),
            lambda: stack.restart("retrieval"),
            meanwhile=lambda: strangers.extend(stack.ask(f"stranger-{number}") for number in range(5)),
            rung="CACHED",
        )
    check_whole(load)
    assert median_seconds(lower) < DEADLINE_SECONDS / 10
    for answer in lower:
        reason = answer.response.rung_reason
        assert reason.startswith("retrieval ")
        assert re.search(r"; answered from the earlier answer [0-9a-f]{32}$", reason)
    assert [response.rung for response in strangers] == [gateway_pb2.RUNG_POPULAR] * 5
    assert all(response.rung_reason.startswith("retrieval resting") for response in strangers)


@pytest.mark.parametrize(
    ("name", "rung"), [("ranking", "RETRIEVAL_ORDER"), ("retrieval", "CACHED"), ("model_server", "RETRIEVAL_ORDER")]
)
def test_a_process_that_hangs_costs_the_first_requests_their_time_and_no_others(
    stack: Stack, name: str, rung: str
) -> None:
    with Load(stack) as load:
        lower = go_through(load, lambda: stack.stop(name), lambda: stack.go_on(name), rung=rung)
    check_whole(load)
    # At 40 requests a second those of the first quarter of a second, and not those of the second that it takes till
    # one that waits for all its time is late.
    waited = [answer for answer in load.answers if answer.came - answer.due > DEADLINE_SECONDS / 3]
    assert len(waited) <= 25
    assert sum("resting" in answer.response.rung_reason for answer in lower) > 10


def test_ranking_that_is_slowed_gets_fewer_candidates_until_it_is_fast_again(stack: Stack) -> None:
    # This gateway gives itself 180 ms, of which 200 ms of standing still leave nothing to spare; callers have a second.
    with stack.another_gateway(max_deadline_ms="180") as hurried, Load(hurried, rate=20) as load:
        load.until(is_full, after=0, seconds=10)
        with stack.slowed("ranking", stopped_seconds=0.2, running_seconds=0.1):
            fewer = load.until(lambda answer: answer.rung == "FEWER_CANDIDATES", after=0, seconds=8)
            time.sleep(1)
        check_recovery(load, time.perf_counter())
    check_whole(load)
    assert re.fullmatch(r"ranking had time for \d+ of \d+ candidates", fewer.response.rung_reason)
    assert fewer.response.ranker
    assert all(item.action_scores for item in fewer.response.recommendations)


def test_retrieval_that_is_slowed_is_waited_for(stack: Stack) -> None:
    with Load(stack) as load:
        load.until(is_full, after=0, seconds=10)
        with stack.slowed("retrieval", stopped_seconds=0.1, running_seconds=0.05):
            time.sleep(1.5)
        check_recovery(load, time.perf_counter())
    check_whole(load)
    assert sum(map(is_full, load.answers)) > 0.9 * len(load.answers)


def test_a_model_server_that_is_killed_costs_a_rung_until_it_is_back(stack: Stack) -> None:
    with Load(stack) as load:
        lower = go_through(
            load, lambda: stack.kill("model_server"), lambda: stack.restart("model_server"), rung="RETRIEVAL_ORDER"
        )
    check_whole(load)
    assert all(answer.response.rung_reason.startswith("ranking ") for answer in lower)
