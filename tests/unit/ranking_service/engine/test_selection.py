from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ranking_service.engine.selection import CapRule, descending, first_occurrences, select


@dataclass(frozen=True)
class _Problem:
    rows: NDArray[np.uint32]
    scores: NDArray[np.float64]
    vectors: NDArray[np.float32]
    count: int
    strength: float
    caps: list[tuple[int, int]]
    """Modulus and most: items share a value when their rows are equal by the modulus, and another when by 2."""
    pinned: list[int]

    def solve(self) -> list[int]:
        caps = [CapRule(partial(_codes, modulus), most) for modulus, most in self.caps]
        order = descending(self.scores)
        chosen = select(
            self.rows,
            self.scores,
            order,
            self.count,
            strength=self.strength,
            vectors=self.vectors,
            caps=caps,
            pinned_rows=self.pinned,
        )
        return [int(position) for position in chosen]

    def chosen_rows(self) -> list[int]:
        return [int(self.rows[position]) for position in self.solve()]


def _codes(modulus: int, row: int) -> list[int]:
    return [row % modulus, 100 + row % 2]


@st.composite
def _problems(draw: st.DrawFn) -> _Problem:
    count = draw(st.integers(0, 25))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = generator.normal(size=(count, 4))
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    rows = generator.permutation(1000)[:count].astype(np.uint32)
    candidates_pinned = generator.permutation(count)[: draw(st.integers(0, 4))]
    return _Problem(
        rows=rows,
        # Few distinct values, so that ties are common.
        scores=generator.integers(0, 6, count) / 5.0,
        vectors=vectors.astype(np.float32),
        count=draw(st.integers(1, 30)),
        strength=draw(st.sampled_from([0.0, 0.0, 0.3, 1.0])),
        caps=draw(st.lists(st.tuples(st.integers(2, 7), st.integers(1, 4)), max_size=2)),
        pinned=[1001, *rows[candidates_pinned].tolist(), 1002],
    )


@given(_problems())
def test_the_selection_is_a_subset_without_repeats(problem: _Problem) -> None:
    chosen = problem.solve()
    assert len(set(chosen)) == len(chosen) <= problem.count
    assert all(0 <= position < len(problem.rows) for position in chosen)


@given(_problems())
def test_without_caps_it_is_exactly_the_count_or_all_there_are(problem: _Problem) -> None:
    assert len(replace(problem, caps=[]).solve()) == min(len(problem.rows), problem.count)


@given(_problems())
def test_caps_hold_where_nothing_is_pinned(problem: _Problem) -> None:
    rows = replace(problem, pinned=[]).chosen_rows()
    for modulus, most in problem.caps:
        assert all(count <= most for count in Counter(row % modulus for row in rows).values())
        assert all(count <= most for count in Counter(row % 2 for row in rows).values())


@given(_problems())
def test_a_shortfall_under_caps_leaves_nobody_who_would_have_fitted(problem: _Problem) -> None:
    rows = problem.chosen_rows()
    if len(rows) == problem.count:
        return
    for row in set(problem.rows.tolist()) - set(rows):
        assert any(
            sum(other % modulus == row % modulus for other in rows) >= most
            or sum(other % 2 == row % 2 for other in rows) >= most
            for modulus, most in problem.caps
        )


@given(_problems())
def test_strength_0_keeps_scores_descending_with_ties_in_the_candidates_order(problem: _Problem) -> None:
    chosen = replace(problem, strength=0.0, pinned=[]).solve()
    keys = [(-problem.scores[position], position) for position in chosen]
    assert keys == sorted(keys)


@given(_problems())
def test_pinned_candidates_stand_first_in_the_order_of_the_pins(problem: _Problem) -> None:
    there = [row for row in problem.pinned if row in problem.rows.tolist()][: problem.count]
    assert problem.chosen_rows()[: len(there)] == there


@given(_problems())
def test_diversity_follows_the_formula_of_maximal_marginal_relevance(problem: _Problem) -> None:
    scores, vectors = problem.scores, problem.vectors.astype(np.float64)
    if len(scores) == 0:
        return
    spread = scores.max() - scores.min()
    relevance = (scores - scores.min()) / spread if spread else np.zeros(len(scores))
    taken: list[int] = []
    for position in replace(problem, strength=0.4, caps=[], pinned=[]).solve():
        worth = {
            p: 0.6 * relevance[p] - (0.4 * max(float(vectors[p] @ vectors[q]) for q in taken) if taken else 0.0)
            for p in range(len(scores))
            if p not in taken
        }
        assert worth[position] >= max(worth.values()) - 1e-6
        taken.append(position)


@given(_problems())
def test_every_step_takes_the_best_that_the_caps_admit_whatever_was_asked(problem: _Problem) -> None:
    """The whole rule, step by step, with pins, caps and diversity at once."""
    scores, vectors, strength = problem.scores, problem.vectors.astype(np.float64), problem.strength
    chosen = problem.solve()
    pinned = [problem.rows.tolist().index(row) for row in problem.pinned if row in problem.rows.tolist()]
    pinned = pinned[: problem.count]
    assert chosen[: len(pinned)] == pinned
    spread = scores.max() - scores.min() if len(scores) else 0.0
    relevance = (scores - scores.min()) / spread if spread else np.zeros(len(scores))
    taken = list(pinned)

    def admits(position: int) -> bool:
        row = int(problem.rows[position])
        others = [int(problem.rows[other]) for other in taken]
        return all(
            sum(code in _codes(modulus, other) for other in others) < most
            for modulus, most in problem.caps
            for code in _codes(modulus, row)
        )

    def worth(position: int) -> float:
        if strength <= 0:
            return float(scores[position])
        likeness = max((float(vectors[position] @ vectors[other]) for other in taken), default=0.0)
        return float((1 - strength) * relevance[position] - strength * likeness)

    for position in chosen[len(pinned) :]:
        admitted = {p: worth(p) for p in range(len(scores)) if p not in taken and admits(p)}
        assert position in admitted
        assert admitted[position] >= max(admitted.values()) - 1e-6
        taken.append(position)
    if len(taken) < problem.count:
        assert not any(admits(p) for p in range(len(scores)) if p not in taken)


@given(_problems())
def test_a_pin_that_is_asked_for_twice_stands_once(problem: _Problem) -> None:
    doubled = replace(problem, pinned=[*problem.pinned, *problem.pinned[::-1]])
    assert doubled.solve() == problem.solve()


@given(st.lists(st.integers(0, 12), max_size=40))
def test_of_repeated_rows_the_first_is_kept_in_order(rows: list[int]) -> None:
    kept = first_occurrences(np.array(rows, np.uint32))
    expected = [place for place, row in enumerate(rows) if row not in rows[:place]]
    assert (list(range(len(rows))) if kept is None else kept.tolist()) == expected


def test_full_strength_takes_the_unlike_item_before_the_better_scored_twin() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    scores = np.array([0.9, 0.8, 0.1])
    chosen = select(np.arange(3, dtype=np.uint32), scores, descending(scores), 3, strength=1.0, vectors=vectors)
    assert chosen.tolist() == [0, 2, 1]


def test_a_pin_counts_for_the_caps_of_what_follows_and_is_not_bound_by_them() -> None:
    rows = np.arange(6, dtype=np.uint32)
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    same = CapRule(lambda row: [row % 2], 1)
    chosen = select(rows, scores, descending(scores), 6, caps=[same], pinned_rows=[3, 1, 3])
    # 5 is odd like the pins; 2 and 4 are even like 0.
    assert chosen.tolist() == [3, 1, 0]


def test_repeated_rows_count_where_they_stand_first() -> None:
    repeated = first_occurrences(np.array([5, 3, 5, 9, 3], np.uint32))
    assert repeated is not None
    assert repeated.tolist() == [0, 1, 3]
    assert first_occurrences(np.array([5, 3, 9], np.uint32)) is None
    assert first_occurrences(np.array([], np.uint32)) is None


def test_diversity_without_vectors_is_refused() -> None:
    with pytest.raises(ValueError, match="vectors: expected"):
        select(np.zeros(1, np.uint32), np.zeros(1), np.zeros(1, np.intp), 1, strength=0.5)
