from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from gateway.answer_metrics import AnswerMetrics
from gateway.engine.ladder import Rung
from gateway.engine.plan import Arm
from gateway.engine.response import Recommendation, RecommendResponse, Shortfall, ShortfallReason, Timing

PREFIX = "twostage_gateway_"


class Counted:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = AnswerMetrics(self.registry)

    def answer(
        self,
        rung: Rung = Rung.FULL,
        *,
        generation: int = 1,
        seconds: float = 0.01,
        timings: tuple[Timing, ...] = (),
        arms: tuple[Arm, ...] = (),
        sources: tuple[tuple[str, ...], ...] = (),
        shortfall: Shortfall | None = None,
    ) -> None:
        shown = [Recommendation(f"i{number}", 1.0, sources=names) for number, names in enumerate(sources)]
        response = RecommendResponse("r", shown, shortfall, generation, rung, timings=timings, arms=arms)
        self.metrics.answered(response, seconds)

    def series(self, name: str) -> dict[tuple[str, ...], float]:
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == PREFIX + name
        }


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_time_is_split_into_stages_and_what_is_left_is_the_gateways_own(counted: Counted) -> None:
    timings = (
        Timing("user", 1.0),
        Timing("retrieval", 2.0, 0.5),
        Timing("retrieval.search", 1.5),
        Timing("ranking", 3.0, 1.0),
        Timing("ranking.blend", 0.5),
    )
    counted.answer(seconds=0.010, timings=timings)
    sums = counted.series("stage_seconds_sum")
    assert sums == pytest.approx(
        {
            ("users", "compute"): 0.001,
            ("retrieval", "compute"): 0.002,
            ("retrieval", "transport"): 0.0005,
            ("ranking", "compute"): 0.003,
            ("ranking", "transport"): 0.001,
            # 10 ms less the 7.5 ms above.
            ("answer", "compute"): 0.0025,
        }
    )


def test_of_a_stage_that_did_not_answer_the_wait_is_not_taken_for_our_own_work(counted: Counted) -> None:
    counted.answer(Rung.RETRIEVAL_ORDER, seconds=0.4, timings=(Timing("user", 1.0), Timing("retrieval", 2.0, 0.5)))
    assert ("answer", "compute") not in counted.series("stage_seconds_count")


def test_an_item_of_two_sources_counts_for_both(counted: Counted) -> None:
    counted.answer(sources=(("user_vector",), ("user_vector", "popular"), ()))
    assert counted.series("shown_items_total") == {("user_vector",): 2, ("popular",): 1}


def test_what_is_missing_is_counted_by_reason(counted: Counted) -> None:
    counted.answer(shortfall=Shortfall(3, ShortfallReason.EXCLUDED))
    counted.answer(shortfall=Shortfall(4, ShortfallReason.EXCLUDED))
    counted.answer()
    assert counted.series("shortfalls_total")["excluded",] == 2
    assert counted.series("missing_items_total")["excluded",] == 7


def test_a_request_without_retrieval_is_a_hit_or_a_miss_of_earlier_answers(counted: Counted) -> None:
    for rung in (Rung.FULL, Rung.CACHED, Rung.CACHED, Rung.POPULAR):
        counted.answer(rung)
    assert counted.series("answer_cache_total") == {("hit",): 2, ("miss",): 1}
    counted.metrics.remembered(1200, 3)
    assert counted.series("answer_cache_bytes") == {(): 1200}
    assert counted.series("answer_cache_people") == {(): 3}


def test_the_series_of_generations_stay_few(counted: Counted) -> None:
    for generation in range(1, 30):
        counted.answer(generation=generation)
        counted.answer(generation=generation)
    found = counted.series("generation_recommendations_total")
    assert found == {(str(generation), "FULL"): 2 for generation in range(26, 30)}


def test_a_low_generation_that_answers_after_going_back_is_counted(counted: Counted) -> None:
    for generation in (5, 6, 7, 8, 9, 4, 4, 4):
        counted.answer(generation=generation)
    found = counted.series("generation_recommendations_total")
    assert found == {("7", "FULL"): 1, ("8", "FULL"): 1, ("9", "FULL"): 1, ("4", "FULL"): 3}


def test_an_arm_that_is_gone_loses_its_series_and_those_that_stay_go_on(counted: Counted) -> None:
    old, kept = Arm("size", "large"), Arm("size", "small")
    counted.answer(arms=(old, Arm("mood", "warm")))
    counted.answer(Rung.POPULAR, arms=(kept,))
    counted.metrics.keep_arms([kept, Arm("size", "huge")])
    counted.answer(Rung.POPULAR, arms=(kept,))
    assert counted.series("arm_recommendations_total") == {("size", "small", "POPULAR"): 2}


def test_one_of_several_processes_drops_no_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "read when the library is imported, so not here")
    counted = Counted()
    counted.answer(arms=(Arm("size", "large"),))
    counted.metrics.keep_arms([])
    assert counted.series("arm_recommendations_total") == {("size", "large", "FULL"): 1}
