from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval_service.engine.interests import FAR_COSINE, LEAST_ENTRIES, MAX_GROUPS, interest_groups


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    normed: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return normed


def clustered(kinds: list[int], noise: float = 0.15, seed: int = 0, dimension: int = 32) -> NDArray[np.float32]:
    """One vector for each entry, near to the direction of its kind."""
    generator = np.random.default_rng(seed)
    centres = np.linalg.qr(generator.normal(size=(dimension, 8)))[0].T
    return unit(centres[kinds] + noise / dimension**0.5 * generator.normal(size=(len(kinds), dimension)))


@pytest.mark.parametrize("kind_count", [2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_kinds_become_groups_the_newest_first(kind_count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    kinds = [*generator.permutation([kind for kind in range(kind_count) for _ in range(5)]).tolist()]
    groups = interest_groups(clustered(kinds, seed=seed))
    expected = [[p for p, kind in enumerate(kinds) if kind == wanted] for wanted in range(kind_count)]
    assert [group.tolist() for group in groups] == sorted(expected, key=lambda group: -group[-1])


def test_more_kinds_than_groups_share_them() -> None:
    groups = interest_groups(clustered([kind for kind in range(8) for _ in range(5)]))
    assert 2 <= len(groups) <= MAX_GROUPS


@pytest.mark.parametrize(
    "kinds", [[3] * 30, [0, 1, 2, 3, 0, 1, 2], [], [5]], ids=["one kind", "short", "empty", "one entry"]
)
def test_a_history_of_one_interest_or_a_short_one_has_no_groups(kinds: list[int]) -> None:
    assert len(kinds) == 30 or len(kinds) < LEAST_ENTRIES
    assert len(interest_groups(clustered(kinds))) == 0


def test_a_lone_exception_is_no_interest() -> None:
    """Two kinds and one entry unlike both."""
    groups = interest_groups(clustered([0, 1] * 5 + [6]))
    assert sorted(group.tolist() for group in groups) == [list(range(0, 10, 2)), list(range(1, 10, 2))]


@settings(max_examples=100, deadline=None)
@given(count=st.integers(0, 50), dimension=st.integers(1, 24), seed=st.integers(0, 2**16), repeats=st.booleans())
def test_groups_are_disjoint_ascending_and_the_same_each_time(
    count: int, dimension: int, seed: int, repeats: bool
) -> None:
    generator = np.random.default_rng(seed)
    vectors = unit(generator.normal(size=(max(count, 1), dimension)))[:count]
    if repeats and count:
        vectors = vectors[generator.integers(0, max(1, count // 5), count)]
    groups = interest_groups(vectors)
    assert len(groups) == 0 or 2 <= len(groups) <= MAX_GROUPS
    members = np.concatenate(groups) if groups else np.empty(0, np.intp)
    assert len(set(members.tolist())) == len(members)
    assert all(len(group) >= 2 and (np.diff(group) > 0).all() for group in groups)
    assert [g.tolist() for g in interest_groups(vectors)] == [g.tolist() for g in groups]


def test_a_split_by_angle_is_where_it_is_documented_to_be() -> None:
    """Two directions of four entries each, a little less and a little more than 60 degrees apart."""

    def apart(degrees: float) -> NDArray[np.float32]:
        angles = np.radians([0.0, degrees] * 4)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    assert len(interest_groups(apart(59.0))) == 0
    assert [group.tolist() for group in interest_groups(apart(61.0))] == [[1, 3, 5, 7], [0, 2, 4, 6]]


@settings(max_examples=100, deadline=None)
@given(count=st.integers(LEAST_ENTRIES, 50), dimension=st.integers(2, 24), seed=st.integers(0, 2**16))
def test_groups_are_those_of_k_means_over_the_vectors_themselves(count: int, dimension: int, seed: int) -> None:
    """The same algorithm with centres as vectors, entry by entry in float64."""
    vectors = unit(np.random.default_rng(seed).normal(size=(count, dimension)))
    exact = vectors.astype(np.float64)
    centres = [exact[-1]]
    while len(centres) < MAX_GROUPS:
        nearest = [max(float(entry @ centre) for centre in centres) for entry in exact]
        # Too close to call in float32.
        assume(abs(min(nearest) - FAR_COSINE) > 1e-5)
        assume(np.diff(np.sort(nearest))[0] > 1e-5)
        if min(nearest) > FAR_COSINE:
            break
        centres.append(exact[int(np.argmin(nearest))])
    labels: list[int] = []
    for _ in range(5):
        cosines = np.array([[entry @ centre for centre in centres] for entry in exact])
        assume(len(centres) == 1 or np.diff(np.sort(cosines, axis=1)[:, -2:], axis=1).min() > 1e-5)
        labels = cosines.argmax(axis=1).tolist()
        sums = [exact[np.equal(labels, label)].sum(axis=0) for label in range(len(centres))]
        assume(all(np.linalg.norm(total) > 1e-3 for total in sums))
        centres = [total / np.linalg.norm(total) for total in sums]
    expected = [[p for p, label in enumerate(labels) if label == wanted] for wanted in range(len(centres))]
    expected = sorted((group for group in expected if len(group) > 1), key=lambda group: -group[-1])
    assert [group.tolist() for group in interest_groups(vectors)] == (expected if len(expected) > 1 else [])
