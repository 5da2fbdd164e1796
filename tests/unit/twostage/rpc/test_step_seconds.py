from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from twostage.rpc.step_seconds import BUCKETS, StepSeconds

NAME = "twostage_test_step_seconds"

observations = st.lists(
    st.tuples(
        st.sampled_from([("search",), ("blend",)]),
        st.one_of(st.sampled_from(BUCKETS), st.floats(min_value=0, max_value=5, allow_nan=False)),
    ),
    max_size=20,
)


def samples(registry: CollectorRegistry) -> dict[Any, float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(observations)
def test_it_counts_as_the_librarys_histogram_does(observed: list[tuple[tuple[str], float]]) -> None:
    own, librarys = CollectorRegistry(), CollectorRegistry()
    steps = StepSeconds(NAME, "Steps.", ("step",), registry=own)
    histogram = Histogram(NAME, "Steps.", ("step",), registry=librarys, buckets=BUCKETS)
    steps.observe(observed)
    for labels, seconds in observed:
        histogram.labels(*labels).observe(seconds)
    found, expected = samples(own), samples(librarys)
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected)


def test_both_formats_can_be_read_and_an_exemplar_stands_in_its_bucket() -> None:
    registry = CollectorRegistry()
    steps = StepSeconds(NAME, "Steps.", ("step",), registry=registry)
    steps.observe([(("search",), 0.07), (("blend",), 0.0004)], {"trace_id": "ab" * 16})
    steps.observe([(("search",), 0.3)])
    text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    (family,) = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    found = {
        (sample.labels["step"], sample.labels["le"]): (sample.exemplar.labels, sample.exemplar.value)
        for sample in family.samples
        if sample.exemplar
    }
    expected = {"trace_id": "ab" * 16}
    assert found == {("search", "0.1"): (expected, 0.07), ("blend", "0.0005"): (expected, 0.0004)}
    assert b"trace_id" not in generate_latest(registry)


def test_threads_lose_nothing() -> None:
    registry = CollectorRegistry()
    steps = StepSeconds(NAME, "Steps.", ("step",), registry=registry)

    def observe() -> None:
        for _ in range(2000):
            steps.observe([(("search",), 0.5), (("blend",), 0.25)])

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.get_sample_value(f"{NAME}_count", {"step": "search"}) == 8000
    assert registry.get_sample_value(f"{NAME}_sum", {"step": "blend"}) == 2000


def test_where_objectives_are_set_there_are_edges() -> None:
    assert {0.05, 0.1, 0.25} <= set(BUCKETS)


def test_one_of_several_processes_counts_with_the_librarys_histogram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "read when the library is imported, so not here")
    registry = CollectorRegistry()
    steps = StepSeconds(NAME, "Steps.", ("step",), registry=registry)
    steps.observe([(("search",), 0.07)], {"trace_id": "ab" * 16})
    assert [type(each) for each in registry._collector_to_names] == [Histogram]
    assert registry.get_sample_value(f"{NAME}_bucket", {"step": "search", "le": "0.1"}) == 1
