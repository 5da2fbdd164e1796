"""The Prometheus page, read by Prometheus's own parser."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.parser import text_string_to_metric_families

from model_server.metrics import Metrics

# As the parser calls the samples of every counter; on the page the name is the real server's.
_REQUEST_COUNT = ":tensorflow:serving:request_count_total"


def _samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.expose())
        for sample in family.samples
    }


def test_requests_are_counted_by_model_and_status() -> None:
    metrics = Metrics()
    metrics.count_request("m", "OK")
    metrics.count_request("m", "OK")
    metrics.count_request('odd "name"\\\n', "NOT_FOUND")
    samples = _samples(metrics)
    name = _REQUEST_COUNT
    assert samples[name, (("model_name", "m"), ("status", "OK"))] == 2
    assert samples[name, (("model_name", 'odd "name"\\\n'), ("status", "NOT_FOUND"))] == 1


def test_a_histogram_counts_up_to_each_limit_and_sums() -> None:
    metrics = Metrics()
    for microseconds in (9.0, 17.0, 17.5, 1e12):
        metrics.time_request("m", "Predict", "GRPC", microseconds)
    metrics.time_run("m", "Predict", 33.0)
    text = metrics.expose()
    labels = 'model_name="m",API="Predict",entrypoint="GRPC"'
    for limit, count in (("10", 1), ("18", 3), ("32.4", 3), ("104.976", 3), ("1.47476e+09", 3), ("+Inf", 4)):
        assert f':tensorflow:serving:request_latency_bucket{{{labels},le="{limit}"}} {count}\n' in text
    assert f":tensorflow:serving:request_latency_sum{{{labels}}} {9.0 + 17.0 + 17.5 + 1e12}\n" in text
    assert f":tensorflow:serving:request_latency_count{{{labels}}} 4\n" in text
    assert ':tensorflow:serving:runtime_latency_count{model_name="m",API="Predict",runtime="TF1"} 1\n' in text
    # 33 limits from 10 µs, each 1.8 times the one before, and the rest.
    assert text.count("request_latency_bucket") == 34


def test_the_page_names_each_kind_once() -> None:
    kinds = [line for line in Metrics().expose().splitlines() if line.startswith("#")]
    assert kinds == [
        "# TYPE :tensorflow:serving:request_count counter",
        "# TYPE :tensorflow:serving:request_latency histogram",
        "# TYPE :tensorflow:serving:runtime_latency histogram",
    ]


def test_names_that_clients_make_up_do_not_fill_the_memory() -> None:
    metrics = Metrics()
    metrics.count_request("m", "OK")
    for number in range(3000):
        metrics.count_request(f"made up {number}", "NOT_FOUND")
    metrics.count_request("m", "OK")
    samples = _samples(metrics)
    assert len(samples) <= 1001
    assert sum(samples.values()) == 3002
    assert samples[_REQUEST_COUNT, (("model_name", "m"), ("status", "OK"))] == 2


def test_a_name_as_long_as_a_message_is_not_kept() -> None:
    metrics = Metrics()
    metrics.count_request("x" * 1_000_000, "NOT_FOUND")
    assert len(metrics.expose()) < 2000
    assert sum(_samples(metrics).values()) == 1


def test_threads_lose_no_count() -> None:
    metrics = Metrics()

    def count(_: int) -> None:
        for _ in range(500):
            metrics.count_request("m", "OK")
            metrics.time_request("m", "Predict", "GRPC", 100.0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(8)))
    samples = _samples(metrics)
    assert samples[_REQUEST_COUNT, (("model_name", "m"), ("status", "OK"))] == 4000
    labels = (("API", "Predict"), ("entrypoint", "GRPC"), ("model_name", "m"))
    assert samples[":tensorflow:serving:request_latency_count", labels] == 4000


def test_counting_a_request_costs_a_few_microseconds() -> None:
    metrics = Metrics()
    began = time.thread_time()
    for _ in range(2000):
        metrics.count_request("m", "OK")
        metrics.time_request("m", "Predict", "GRPC", 800.0)
        metrics.time_run("m", "Predict", 400.0)
    # 2 µs on an idle machine.
    assert (time.thread_time() - began) / 2000 < 20e-6
