"""What a query of Prometheus asks for, and whether that can be had."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import promql_parser

from tests.contract.kubernetes.metric_names import LABEL_VALUES, TARGET_LABELS, Labels

# Grafana's own, and what stands for them while a query is read.
_VARIABLES = {
    "__rate_interval": "5m",
    "__interval": "1m",
    "__range": "1h",
    "__interval_ms": "60000",
    "__range_s": "3600",
}
_FREE = None
"""Labels of which nothing is known, as those of absent()."""


class QueryWrong(Exception):
    """A query that cannot be read; the message says why."""


def parse_query(text: str) -> Any:
    """Reads a query, a dashboard's variables replaced by values.

    Raises:
        QueryWrong: It is no PromQL.
    """

    def value(match: re.Match[str]) -> str:
        return _VARIABLES.get(match[1] or match[2], "variable")

    readable = re.sub(r"\$(?:\{(\w+)(?::\w+)?\}|([A-Za-z_]\w*))", value, text)
    try:
        return promql_parser.parse(readable)
    except ValueError as error:
        raise QueryWrong(f"{error} in {text!r}") from error


def query_problems(text: str, series: Mapping[str, Labels]) -> Iterator[str]:
    """What a query asks for that is not to be had: metrics, labels of them, values of labels from closed sets.

    Args:
        text: The query.
        series: What there is, with its labels.
    """
    found: list[str] = []
    try:
        _labels(parse_query(text), series, found)
    except QueryWrong as error:
        yield str(error)
        return
    yield from dict.fromkeys(found)


def result_labels(text: str, series: Mapping[str, Labels]) -> Labels | None:
    """The labels of a query's result, e.g. of a recorded series; None where they cannot be told.

    Raises:
        QueryWrong: It is no PromQL.
    """
    return _labels(parse_query(text), series, [])


def _labels(node: Any, series: Mapping[str, Labels], found: list[str]) -> Labels | None:
    """The labels that a part of a query has; what is wrong with it is added to `found`."""
    kind = type(node).__name__
    if kind in ("ParenExpr", "SubqueryExpr", "UnaryExpr"):
        return _labels(node.expr, series, found)
    if kind == "MatrixSelector":
        return _selector(node.vector_selector, series, found)
    read = {"VectorSelector": _selector, "AggregateExpr": _aggregate, "BinaryExpr": _binary, "Call": _call}.get(kind)
    return read(node, series, found) if read is not None else frozenset()


def _selector(node: Any, series: Mapping[str, Labels], found: list[str]) -> Labels | None:
    matchers = list(node.matchers.matchers)
    name = node.name or next((each.value for each in matchers if each.name == "__name__"), None)
    if name is None:
        found.append("expected a metric's name, found labels alone")
        return _FREE
    if name not in series:
        found.append(f"unknown metric {name}")
        return _FREE
    for each in matchers:
        if each.name == "__name__":
            continue
        if each.name not in series[name]:
            found.append(
                f"metric {name} has no label {each.name}, only {', '.join(sorted(series[name] - TARGET_LABELS))}"
            )
        elif each.name in LABEL_VALUES and "variable" not in each.value:
            found.extend(_values(name, each))
    return series[name]


def _values(name: str, matcher: Any) -> Iterator[str]:
    """Values that a label never has; of a pattern each of its alternatives must fit one."""
    known = LABEL_VALUES[matcher.name]
    operator = str(matcher.op).rpartition(".")[2]
    patterns = matcher.value.split("|") if operator in ("Re", "NotRe") else [re.escape(matcher.value)]
    for pattern in patterns:
        if pattern and not any(re.fullmatch(pattern, value) for value in known):
            yield f"metric {name}: label {matcher.name} is never {pattern}, only {', '.join(sorted(known))}"


def _aggregate(node: Any, series: Mapping[str, Labels], found: list[str]) -> Labels | None:
    inner = _labels(node.expr, series, found)
    modifier = node.modifier
    if modifier is None:
        # topk and its like keep the series as they are.
        return inner if node.param is not None else frozenset()
    names = frozenset(modifier.labels)
    if inner is not None:
        found.extend(f"nothing to group by: no label {name} in what is aggregated" for name in sorted(names - inner))
    if str(modifier.type).endswith("By"):
        return names
    return None if inner is None else inner - names


def _binary(node: Any, series: Mapping[str, Labels], found: list[str]) -> Labels | None:
    left, right = _labels(node.lhs, series, found), _labels(node.rhs, series, found)
    modifier = node.modifier
    matching = modifier.matching if modifier is not None else None
    if matching is not None and str(matching.type).endswith("Include"):
        for side in (left, right):
            missing = sorted(set(matching.labels) - (side if side is not None else set(matching.labels)))
            found.extend(f"nothing to match on: one side has no label {name}" for name in missing)
    if _is_scalar(node.lhs):
        return right
    if _is_scalar(node.rhs) or left is None:
        return left
    return left | frozenset(modifier.group_labels or ()) if modifier is not None and modifier.group_labels else left


def _is_scalar(node: Any) -> bool:
    kind = type(node).__name__
    if kind == "BinaryExpr":
        return _is_scalar(node.lhs) and _is_scalar(node.rhs)
    if kind in ("ParenExpr", "UnaryExpr"):
        return _is_scalar(node.expr)
    return kind == "NumberLiteral" or (kind == "Call" and node.func.name in ("time", "scalar"))


def _call(node: Any, series: Mapping[str, Labels], found: list[str]) -> Labels | None:
    parts = [(each, _labels(each, series, found)) for each in node.args]
    vectors = [labels for each, labels in parts if type(each).__name__ not in ("NumberLiteral", "StringLiteral")]
    name = node.func.name
    if name in ("absent", "absent_over_time"):
        return _FREE
    if not vectors:
        return frozenset()
    labels = vectors[-1]
    if name == "histogram_quantile":
        if labels is not None and "le" not in labels:
            found.append("histogram_quantile: expected buckets with the label le")
        return None if labels is None else labels - {"le"}
    if name in ("label_replace", "label_join") and labels is not None:
        return labels | {str(node.args[1].val)}
    return labels
