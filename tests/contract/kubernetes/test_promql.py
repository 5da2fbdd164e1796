from __future__ import annotations

import pytest

from tests.contract.kubernetes.promql import QueryWrong, query_problems, result_labels

# Of no program: two services' requests, and which pods are ready.
_SERIES = {
    "asked_total": frozenset({"pod", "method", "code"}),
    "seconds_bucket": frozenset({"pod", "method", "le"}),
    "ready": frozenset({"pod"}),
    "answers_total": frozenset({"pod", "rung"}),
}


@pytest.mark.parametrize(
    "query",
    [
        "sum by (method) (rate(asked_total[5m]))",
        'sum(rate(asked_total{code!~"INTERNAL|UNAVAILABLE"}[$__rate_interval])) / ignoring(method) sum(ready)',
        'histogram_quantile(0.99, sum by (le, method) (rate(seconds_bucket{method="$method"}[5m])))',
        "asked_total * on (pod) group_left ready",
        'sum by (rung) (answers_total{rung=~"${rung}|FULL"})',
        "max_over_time(sum(ready)[1h:1m])",
        'sum by (short) (label_replace(asked_total, "short", "$1", "method", ".*/(.*)"))',
        "topk by (pod) (3, asked_total)",
        'absent(ready{pod="a"})',
        '{__name__="ready"}',
    ],
)
def test_a_query_for_what_there_is_has_no_problem(query: str) -> None:
    assert list(query_problems(query, _SERIES)) == []


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("rate(askd_total[5m])", "unknown metric askd_total"),
        ('asked_total{cod="OK"}', "no label cod"),
        ('asked_total{code="OKAY"}', "code is never OKAY"),
        ('answers_total{rung=~"FULL|RUNG_POPULAR"}', "rung is never RUNG_POPULAR"),
        ("sum by (methd) (asked_total)", "no label methd"),
        ("sum by (method) (sum by (code) (asked_total))", "no label method"),
        ("asked_total / on (method) ready", "one side has no label method"),
        ("histogram_quantile(0.9, sum by (method) (rate(seconds_bucket[5m])))", "the label le"),
        ('{pod="a"}', "a metric's name"),
        ("sum(asked_total", "unclosed"),
    ],
)
def test_what_is_not_there_is_named(query: str, word: str) -> None:
    problems = list(query_problems(query, _SERIES))

    assert len(problems) == 1
    assert word in problems[0]


def test_the_labels_of_a_recorded_series_are_those_that_its_query_leaves() -> None:
    assert result_labels(
        "sum by (method, code) (asked_total) / ignoring (code) group_left sum by (method) (asked_total)", _SERIES
    ) == frozenset({"method", "code"})
    assert result_labels("sum without (pod) (asked_total)", _SERIES) == frozenset({"method", "code"})
    assert result_labels("1 - sum(ready)", _SERIES) == frozenset()


def test_text_that_is_no_query_is_refused() -> None:
    with pytest.raises(QueryWrong, match="unclosed"):
        result_labels("sum(", _SERIES)


@pytest.mark.parametrize("text", ["time() - max by (namespace) (up)", "2 * (time() - 5) - max by (namespace) (up) > 3"])
def test_a_number_beside_series_takes_none_of_their_labels(text: str) -> None:
    assert result_labels(text, {"up": frozenset({"namespace", "pod"})}) == frozenset({"namespace"})
