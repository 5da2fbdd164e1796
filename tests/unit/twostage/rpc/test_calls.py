from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import suppress

import grpc
import pytest

from tests.unit.twostage.rpc.calling import ask, code_of, eventually, idle, make, measured, question
from tests.unit.twostage.rpc.scripted import Scripted, scripted
from twostage.errors import NotReady
from twostage.rpc.asking import ask_together
from twostage.rpc.calls import Calls
from twostage.rpc.outliers import Outcome, OutlierPolicy, Outliers
from twostage.rpc.question import NoAnswer


def test_with_one_replica_calls_block_and_are_measured() -> None:
    with scripted("a") as ((a,), replicas):
        a.seconds = 0.05
        calls = Calls(replicas)
        assert [ask(calls) for _ in range(3)] == ["a"] * 3
        assert idle(replicas)
        for _ in range(20):
            calls.latency.record(0.05)
        p95 = calls.latency.quantile(0.95)
    assert p95 is not None
    assert p95 >= 0.05


def test_a_slow_first_is_outrun_by_another_and_cancelled() -> None:
    with scripted("slow", "fast") as ((slow, fast), replicas):
        slow.seconds = 5.0
        calls, told = make(replicas)
        before = time.monotonic()
        assert ask(calls, replicas.all()[0]) == "fast"
        assert time.monotonic() - before < 2.5
        assert slow.cancelled.wait(5)
        assert (slow.asked_count, fast.asked_count) == (1, 1)
        assert told.hedges == {"won": 1}
        eventually(lambda: idle(replicas))


def test_a_first_that_answers_after_all_wins_and_the_hedge_is_cancelled() -> None:
    with scripted("first", "hedge") as ((first, hedge), replicas):
        first.seconds, hedge.seconds = 0.3, 5.0
        calls, told = make(replicas)
        assert ask(calls, replicas.all()[0]) == "first"
        assert hedge.cancelled.wait(5)
        assert told.hedges == {"lost": 1}
        eventually(lambda: idle(replicas))


def test_nobody_is_hedged_who_answers_in_time_or_where_hedges_are_off() -> None:
    with scripted("a", "b") as ((a, b), replicas):
        calls, told = make(replicas, hedge_least_seconds=2.0)
        for _ in range(20):
            ask(calls)
        assert (a.asked_count, b.asked_count, told.hedges) == (10, 10, {})
        a.seconds = b.seconds = 0.2
        calls, told = make(replicas, hedge_share=0.0)
        ask(calls)
        assert (a.asked_count + b.asked_count, told.hedges) == (21, {})


def test_hedges_end_with_their_budget() -> None:
    with scripted("a", "b") as ((a, b), replicas):
        a.seconds = b.seconds = 0.1
        calls, told = make(replicas, retry_share=0.0)
        threads = [threading.Thread(target=lambda: ask(calls)) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A reserve of ten, and a twentieth of forty requests; what takes very long is made again from that of retries.
        assert 10 <= told.hedges["won"] + told.hedges["lost"] <= 12
        assert a.asked_count + b.asked_count <= 40 + 12
        assert told.hedges["refused"] >= 20


def test_a_first_that_fails_while_the_hedge_is_under_way_leaves_the_answer_to_it() -> None:
    with scripted("first", "hedge") as ((first, hedge), replicas):
        first.seconds, first.error = 0.2, RuntimeError("a defect")
        hedge.seconds = 0.6
        calls, _ = make(replicas)
        assert ask(calls, replicas.all()[0]) == "hedge"


def test_a_hedge_asks_only_who_holds_the_same_generation() -> None:
    with scripted("a", "b", "c") as ((a, b, c), replicas):
        for replica, held in zip(replicas.all(), (7, 6, 7), strict=True):
            replica.held = frozenset([held])
        a.seconds = 5.0
        calls, _ = make(replicas)
        assert ask(calls, replicas.all()[0], holding=(7,)) == "c"
        c.seconds = 0.3
        replicas.all()[0].held = frozenset([6])
        # Now c alone holds it, and there is nobody to hedge with.
        assert ask(calls, holding=(7,)) == "c"
        assert (a.asked_count, b.asked_count, c.asked_count) == (1, 0, 2)


def test_when_all_are_slow_the_deadline_ends_it() -> None:
    with scripted("a", "b") as ((a, b), replicas):
        a.seconds = b.seconds = 5.0
        calls, _ = make(replicas)
        before = time.monotonic()
        with pytest.raises(NoAnswer) as caught:
            ask(calls, seconds=0.3)
        assert code_of(caught.value) is grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - before < 1.5
        eventually(lambda: idle(replicas))


def test_work_in_flight_is_counted_right_however_calls_end() -> None:
    with scripted("a", "b") as ((a, b), replicas):
        calls, _ = make(replicas, hedge_share=0.9, retry_share=0.9)
        failures: list[BaseException] = []

        def many(server: Scripted, number: int) -> None:
            try:
                for turn in range(8):
                    server.seconds = 0.05 * ((number + turn) % 3)
                    server.error = NotReady("x") if (number + turn) % 5 == 0 else None
                    with suppress(NoAnswer):
                        ask(calls, seconds=0.08 if turn % 2 else 1.0)
                    assert all(replica.in_flight_count >= 0 for replica in replicas.all())
            except BaseException as error:  # noqa: BLE001 - told below
                failures.append(error)

        threads = [threading.Thread(target=many, args=((a, b)[number % 2], number)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        eventually(lambda: idle(replicas))


def test_a_replica_that_hangs_is_put_aside_by_those_that_outrun_it() -> None:
    outliers = Outliers(OutlierPolicy(first_seconds=60))
    with scripted("hangs", "works", outliers=outliers) as ((hangs, _), replicas):
        hangs.seconds = 5.0
        calls, _ = make(replicas)
        end = time.monotonic() + 10
        while not replicas.all()[0].aside and time.monotonic() < end:
            assert ask(calls) == "works"
        before = hangs.asked_count
        assert before <= 10
        assert [ask(calls) for _ in range(10)] == ["works"] * 10
        assert hangs.asked_count == before


def test_with_hedges_off_a_replica_that_hangs_is_put_aside_within_a_second_all_the_same() -> None:
    outliers = Outliers(OutlierPolicy(first_seconds=60))
    with scripted("hangs", "works", outliers=outliers) as ((hangs, _), replicas):
        hangs.seconds = 4.0
        calls, _ = make(replicas, hedge_share=0.0)
        stuck = threading.Thread(target=lambda: ask(calls, replicas.all()[0]))
        stuck.start()
        end = time.monotonic() + 3.0
        while not replicas.all()[0].aside and time.monotonic() < end:
            assert ask(calls) == "works"
            time.sleep(0.02)
        assert replicas.all()[0].aside
        assert hangs.asked_count == 1
        stuck.join()


@pytest.mark.parametrize("hedge_share", [0.0, 0.05])
def test_nothing_is_tried_again_when_the_time_is_over_before(
    monkeypatch: pytest.MonkeyPatch, hedge_share: float
) -> None:
    monkeypatch.setattr("twostage.rpc.calls.SAME_AGAIN_SECONDS", 30.0)
    monkeypatch.setattr("twostage.rpc.asking.SAME_AGAIN_SECONDS", 30.0)
    with scripted("a", "b") as ((a, b), replicas):
        for each in (a, b):
            each.error = NotReady("loading")
        for number, replica in enumerate(replicas.all(), start=1):
            replica.held = frozenset([number])
        calls, _ = make(replicas, hedge_share=hedge_share, hedge_least_seconds=60.0)
        before = time.monotonic()
        with pytest.raises(NoAnswer) as caught:
            ask(calls, seconds=20.0, holding=(1,))
        assert code_of(caught.value) is grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - before < 10
        assert (a.asked_count, b.asked_count) == (1, 0)


def test_one_that_fails_fast_is_not_favoured_for_having_no_work() -> None:
    outliers = Outliers(OutlierPolicy(first_seconds=60))
    with scripted("broken", "works", outliers=outliers) as ((broken, _), replicas):
        broken.error = RuntimeError("a defect")
        calls, _ = make(replicas, hedge_least_seconds=60.0)
        ended: Counter[str] = Counter()
        for _ in range(40):
            try:
                ended[ask(calls)] += 1
            except NoAnswer as failed:
                ended[code_of(failed).name] += 1
        assert ended == {"INTERNAL": 5, "works": 35}


@pytest.mark.parametrize("hedge_share", [0.0, 0.05])
def test_one_on_trial_is_asked_beside_another_that_answers_and_is_taken_back(hedge_share: float) -> None:
    outliers = Outliers(OutlierPolicy(first_seconds=0.05, trial_seconds=60))
    with scripted("bad", "good", outliers=outliers) as ((bad, _), replicas):
        calls, told = make(replicas, hedge_share=hedge_share, hedge_least_seconds=2.0)
        first = replicas.all()[0]
        for _ in range(5):
            first.note(Outcome.FAILED)
        bad.error = RuntimeError("still broken")
        time.sleep(0.06)
        assert [ask(calls) for _ in range(3)] == ["good"] * 3
        eventually(lambda: first.in_flight_count == 0)
        assert (bad.asked_count, first.aside) == (1, True)
        bad.error = None
        time.sleep(0.15)
        assert ask(calls) == "good"
        eventually(lambda: not first.aside)
        assert bad.asked_count == 2
        assert {ask(calls) for _ in range(4)} == {"bad", "good"}
        assert (told.hedges, told.retries) == ({}, {})


def test_of_several_questions_all_are_answered_or_the_one_that_is_not_is_told() -> None:
    with scripted("a") as ((a,), first), scripted("b", "c") as ((b, c), second):
        asked = [(Calls(replicas, measured()), question(), None) for replicas in (first, second)]
        a.seconds = b.seconds = 0.3
        before = time.monotonic()
        answers = ask_together(asked)
        assert answers[0].value == "a"
        assert answers[1].value in ("b", "c")
        assert time.monotonic() - before < 1.5
        b.error = c.error = RuntimeError("a defect")
        a.seconds = 5.0
        with pytest.raises(NoAnswer) as caught:
            ask_together(asked)
        assert caught.value.part == 1
        # Whoever is not waited for any more need not go on.
        assert a.cancelled.wait(5)
        eventually(lambda: idle(first) and idle(second))
