"""What each family of rankers costs per request: ``python -m benchmarks.ranking.family_cost``.

One request of 500 candidates passes, in graph mode on one thread, through the whole model and through the graph that
reads rows of the candidate table. Sizes are those of a data set with three actions, two of them taste; weights are
drawn, so that every part of a model counts. CPU times are tenth percentiles of runs that take turns, as other work on
the machine only adds to them; a graph that does nothing with the same inputs shows how much of them is the call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from training.config import VECTOR_SIZE, RankerConfig
from training.data.goodbooks import ACTIONS
from training.ranker.families.ranker import Ranker, UserBatch
from training.ranker.families.registry import FAMILIES, build_ranker
from twostage.features.context import CONTEXT_SIZE
from twostage.features.history import HISTORY_LENGTH

TOP_COUNT = 20
FEATURE_COUNT = len(ACTIONS.actions) + 6
COLUMNS = (
    "family",
    "parameters",
    "row bytes",
    "both sides per candidate ms",
    "item side per candidate ms",
    "from the table ms",
    "times faster than both",
    "than item side",
    "differ by",
    "float16 differs by",
    f"float16 same top {TOP_COUNT}",
)


@dataclass(frozen=True)
class Request:
    """One person's request: their history and what they may be shown, with everything drawn."""

    user: tuple[NDArray[Any], ...]
    vectors: NDArray[np.float32]
    features: NDArray[np.float32]
    factors: NDArray[np.float32]
    scores: NDArray[np.float32]


def made_request(rng: np.random.Generator, count: int, entry_count: int, factor_shape: tuple[int, int]) -> Request:
    """Draws a request; the candidates and the history lie around the same few tastes."""
    centres = _unit(rng.normal(size=(8, VECTOR_SIZE)))
    factor_centres = _unit(rng.normal(size=(8, *factor_shape)))

    def things(number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        near = rng.integers(0, 8, number)
        vectors = centres[near] + 0.8 * _unit(rng.normal(size=(number, VECTOR_SIZE)))
        factors = factor_centres[near] + 0.8 * _unit(rng.normal(size=(number, *factor_shape)))
        return _unit(vectors), _unit(factors).reshape(number, -1)

    vectors, factors = things(count)
    history = np.concatenate(things(HISTORY_LENGTH), axis=1)
    mask = (np.arange(HISTORY_LENGTH) >= HISTORY_LENGTH - entry_count).astype(np.float32)
    user = (
        history[None],
        mask[None],
        rng.integers(1, 1 + len(ACTIONS.recorded_names), (1, HISTORY_LENGTH)).astype(np.int32),
        rng.integers(1, 6, (1, HISTORY_LENGTH)).astype(np.float32),
        rng.uniform(0, 400, (1, HISTORY_LENGTH)).astype(np.float32),
        rng.normal(size=(1, CONTEXT_SIZE)).astype(np.float32) / 2,
    )
    features = np.clip(rng.normal(size=(count, FEATURE_COUNT)), -8, 8).astype(np.float32)
    return Request(user, vectors, features, factors, rng.uniform(0, 0.6, count).astype(np.float32))


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def draw_weights(model: Ranker, rng: np.random.Generator) -> None:
    """Adds noise of the size of a trained layer's weights; calibration stays as it is."""
    for weight in model.trainable_variables:
        fan_in = weight.shape[0] if len(weight.shape) == 2 else 100
        weight.assign(weight + rng.normal(size=weight.shape).astype(np.float32) * 0.5 / np.sqrt(fan_in))


def graphs(model: Ranker) -> dict[str, Callable[..., tf.Tensor]]:
    """The ways to score a request, compiled."""

    def from_table(rows: tf.Tensor, scores: tf.Tensor, *user: tf.Tensor) -> tf.Tensor:
        side = model.encode_user(_in_single_precision(user)).single()
        return tf.nn.sigmoid(model.score(side, tf.cast(rows, tf.float32), scores))

    def item_side(
        vectors: tf.Tensor, features: tf.Tensor, factors: tf.Tensor, scores: tf.Tensor, *user: tf.Tensor
    ) -> tf.Tensor:
        rows = tf.concat([model.encode_items(vectors, features), factors], axis=-1)
        return tf.nn.sigmoid(model.score(model.encode_user(UserBatch(*user)).single(), rows, scores))

    def both_sides(
        vectors: tf.Tensor, features: tf.Tensor, factors: tf.Tensor, scores: tf.Tensor, *user: tf.Tensor
    ) -> tf.Tensor:
        # As an example per candidate would have it, each with the person's features.
        count = tf.shape(scores)[0]
        repeated = UserBatch(*(tf.repeat(part, count, axis=0) for part in user))
        rows = tf.concat([model.encode_items(vectors, features), factors], axis=-1)
        return tf.nn.sigmoid(model.score(model.encode_user(repeated), rows[:, None, :], scores[:, None]))[:, 0]

    return {"table": tf.function(from_table), "item": tf.function(item_side), "both": tf.function(both_sides)}


def _in_single_precision(user: tuple[tf.Tensor, ...]) -> UserBatch:
    return UserBatch(tf.cast(user[0], tf.float32), *user[1:])


def _calls(model: Ranker, request: Request, ways: Mapping[str, Callable[..., tf.Tensor]]) -> dict[str, Any]:
    """The same request in every way, ready to run."""
    user = tuple(map(tf.constant, request.user))
    whole = tuple(map(tf.constant, (request.vectors, request.features, request.factors, request.scores)))
    table = model.candidate_table(request.vectors, request.features, request.factors)
    half_user = (tf.cast(user[0], tf.float16), *user[1:])
    scores = whole[3]
    return {
        "both": lambda: ways["both"](*whole, *user),
        "item": lambda: ways["item"](*whole, *user),
        "table": lambda: ways["table"](tf.constant(table), scores, *user),
        "half": lambda: ways["table"](tf.constant(table.astype(np.float16)), scores, *half_user),
    }


def _idle(request: Request) -> Callable[[], tf.Tensor]:
    """A call of a graph that adds up one number of each input."""
    whole = tuple(map(tf.constant, (request.vectors, request.features, request.factors, request.scores)))
    inputs = (*whole, *map(tf.constant, request.user))

    def first_of_each(*given: tf.Tensor) -> tf.Tensor:
        return tf.add_n([tf.cast(tf.reshape(one, [-1])[0], tf.float32) for one in given])

    graph = tf.function(first_of_each)
    return lambda: graph(*inputs)


def _milliseconds(calls: Mapping[str, Callable[[], tf.Tensor]], repeats: Mapping[str, int]) -> dict[str, float]:
    """The tenth percentile of each call's CPU time; they take turns, as the machine's speed drifts."""
    taken: dict[str, list[float]] = {name: [] for name in repeats}
    for turn in range(max(repeats.values())):
        for name, count in repeats.items():
            if turn < count:
                started = time.process_time()
                calls[name]().numpy()
                taken[name].append(1000 * (time.process_time() - started))
    return {name: float(np.percentile(times, 10)) for name, times in taken.items()}


def _overlap(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The part of the best candidates by one set of probabilities that are the best by another, over the actions."""
    shares = []
    for action in range(one.shape[1]):
        tops = [set(np.argsort(-scores[:, action])[:TOP_COUNT]) for scores in (one, other)]
        shares.append(len(tops[0] & tops[1]) / TOP_COUNT)
    return float(np.mean(shares))


def measure(family: str, requests: list[Request], repeat_count: int) -> tuple[str, ...]:
    """One row of the table."""
    model = build_ranker(family, RankerConfig(), ACTIONS, VECTOR_SIZE, FEATURE_COUNT)
    draw_weights(model, np.random.default_rng(1))
    ways = graphs(model)
    differ, half_differ, overlaps = [], [], []
    for position, request in enumerate(requests):
        calls = _calls(model, request, ways)
        table = calls["table"]().numpy()
        differ.append(np.abs(calls["item"]().numpy() - table).max())
        if position == 0:
            differ.append(np.abs(calls["both"]().numpy() - table).max())
        half = calls["half"]().numpy()
        half_differ.append(np.abs(half - table).max())
        overlaps.append(_overlap(table, half))
    calls = _calls(model, requests[0], ways)
    taken = _milliseconds(calls, {"both": max(repeat_count // 40, 3), "item": repeat_count, "table": repeat_count})
    return (
        family,
        f"{int(sum(np.prod(weight.shape) for weight in model.trainable_variables)):,}",
        f"{4 * model.candidate_size:,}",
        f"{taken['both']:.1f}",
        f"{taken['item']:.2f}",
        f"{taken['table']:.2f}",
        f"{taken['both'] / taken['table']:.1f}",
        f"{taken['item'] / taken['table']:.1f}",
        f"{max(differ):.1e}",
        f"{max(half_differ):.1e}",
        f"{np.mean(overlaps):.1%}",
    )


@click.command()
@click.option("--candidates", "candidate_count", default=500, show_default=True)
@click.option("--entries", "entry_count", default=HISTORY_LENGTH, show_default=True, help="Entries of the histories.")
@click.option("--requests", "request_count", default=20, show_default=True, help="Requests whose scores are compared.")
@click.option("--repeats", "repeat_count", default=200, show_default=True, help="Timed runs of each way.")
@click.option("--family", "families", type=click.Choice(FAMILIES), multiple=True, help="Only these; all when none.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the table as Markdown.")
def main(
    candidate_count: int,
    entry_count: int,
    request_count: int,
    repeat_count: int,
    families: tuple[str, ...],
    out: Path | None,
) -> None:
    """Measures every family."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rng = np.random.default_rng(0)
    factor_shape = (sum(action.taste for action in ACTIONS.actions), RankerConfig().factor_size)
    requests = [made_request(rng, candidate_count, entry_count, factor_shape) for _ in range(request_count)]
    idle = _milliseconds({"idle": _idle(requests[0])}, {"idle": repeat_count})["idle"]
    Console().print(f"a graph that does nothing: {idle:.2f} ms")
    table = Table(*COLUMNS)
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for family in families or FAMILIES:
        row = measure(family, requests, repeat_count)
        table.add_row(*row)
        lines.append(f"| {' | '.join(row)} |")
    Console(width=200).print(table)
    if out:
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
