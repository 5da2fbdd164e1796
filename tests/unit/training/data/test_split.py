from __future__ import annotations

import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.dataset import Catalogue, Dataset, Interactions, SplitKind, SplitRule, Task
from training.data.split import cold_item_rows, split
from twostage.features.actions import Action, ActionSchema
from twostage.features.schema import FeatureSchema

Event = tuple[int, int, int]


def dataset_of(
    events: list[Event], rule: SplitRule, item_ids: list[str] | None = None, *, timed: bool = True
) -> Dataset:
    """A data set with the given (user, row, time) events."""
    ids = item_ids or [str(row) for row in range(1, 12)]
    table = pa.table({"title": pa.array(ids)})
    users, rows, times = (np.array([event[part] for event in events], dtype=np.int64) for part in range(3))
    return Dataset(
        name="small",
        catalogue=Catalogue(ids, table, FeatureSchema(title="title", text=("title",))),
        interactions=Interactions(
            user_ids=[f"p{user}" for user in range(20)],
            recorded=("liked",),
            users=users.astype(np.int32),
            rows=rows.astype(np.int32),
            actions=np.zeros(len(events), np.int16),
            values=np.full(len(events), np.nan, np.float32),
            times=times if timed else None,
        ),
        actions=ActionSchema((Action("liked", source="liked"),)),
        split_rule=rule,
        tasks=(Task("liked", "liked"),),
        fingerprint="",
    )


EVENTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10), st.integers(0, 30)), min_size=1, max_size=60)
RULES = st.one_of(
    st.just(SplitRule(SplitKind.HASHED)),
    st.just(SplitRule(SplitKind.LEAVE_LAST_OUT)),
    st.builds(lambda cut: SplitRule(SplitKind.TIME_CUT, cut), st.integers(-1, 32)),
)


@settings(deadline=None)
@given(events=EVENTS, rule=RULES)
def test_the_parts_are_disjoint_and_cover_everything(events: list[Event], rule: SplitRule) -> None:
    parts = split(dataset_of(events, rule))

    assert (parts.train.astype(int) + parts.validation + parts.test == 1).all()


@settings(deadline=None)
@given(events=EVENTS, cut=st.integers(0, 31))
def test_nothing_trained_on_is_later_than_what_is_held_out(events: list[Event], cut: int) -> None:
    parts = split(dataset_of(events, SplitRule(SplitKind.TIME_CUT, cut)))
    times = np.array([event[2] for event in events])

    assert (times[parts.test] >= cut).all()
    assert (times[~parts.test] < cut).all()
    if parts.validation.any():
        assert times[parts.train].max() < times[parts.validation].min()


@settings(deadline=None)
@given(events=EVENTS)
def test_each_persons_last_by_time_and_item_is_the_test(events: list[Event]) -> None:
    parts = split(dataset_of(events, SplitRule(SplitKind.LEAVE_LAST_OUT)))

    for user in {event[0] for event in events}:
        mine = [position for position, event in enumerate(events) if event[0] == user]
        # The ids are the numbers 1 to 11, in order of rows.
        ordered = sorted(mine, key=lambda position: (events[position][2], events[position][1]))
        times_and_rows = [events[position][1:] for position in ordered]
        tested = [events[position][1:] for position in mine if parts.test[position]]
        validated = [events[position][1:] for position in mine if parts.validation[position]]
        assert tested == (times_and_rows[-1:] if len(mine) >= 2 else [])
        assert validated == (times_and_rows[-2:-1] if len(mine) >= 3 else [])


def test_the_hash_is_the_crc32_of_user_and_item() -> None:
    events = [(user, row, 0) for user in range(20) for row in range(11)]
    parts = split(dataset_of(events, SplitRule(SplitKind.HASHED), timed=False))

    buckets = [zlib.crc32(f"p{user}:{row + 1}".encode()) % 10 for user, row, _ in events]
    assert parts.test.tolist() == [bucket == 0 for bucket in buckets]
    assert parts.validation.tolist() == [bucket == 1 for bucket in buckets]
    assert parts.test.any()
    assert parts.validation.any()


def test_a_last_tenth_before_the_cut_is_validation_with_all_of_its_first_second() -> None:
    events = [(0, 0, second) for second in [*range(18), 17, 17, 50]]
    parts = split(dataset_of(events, SplitRule(SplitKind.TIME_CUT, 50)))

    assert np.flatnonzero(parts.validation).tolist() == [17, 18, 19]
    assert np.flatnonzero(parts.test).tolist() == [20]


@pytest.mark.parametrize(("item_ids", "last"), [(["9", "10"], 1), (["9a", "10a"], 0), (["b", "a"], 0)])
def test_ties_in_time_go_by_number_when_all_ids_are_numbers_and_else_by_text(item_ids: list[str], last: int) -> None:
    parts = split(dataset_of([(0, 0, 5), (0, 1, 5)], SplitRule(SplitKind.LEAVE_LAST_OUT), item_ids))

    assert np.flatnonzero(parts.test).tolist() == [last]


def test_without_times_the_last_is_the_one_that_stands_last() -> None:
    events = [(0, 3, 0), (1, 4, 0), (0, 2, 0), (0, 1, 0)]
    parts = split(dataset_of(events, SplitRule(SplitKind.LEAVE_LAST_OUT), timed=False))

    assert np.flatnonzero(parts.test).tolist() == [3]
    assert np.flatnonzero(parts.validation).tolist() == [2]
    assert np.flatnonzero(parts.train).tolist() == [0, 1]


def test_a_time_cut_without_times_is_refused() -> None:
    with pytest.raises(ValueError, match="needs times"):
        split(dataset_of([(0, 0, 0)], SplitRule(SplitKind.TIME_CUT, 5), timed=False))


def test_cold_items_are_those_whose_id_hashes_to_0() -> None:
    item_ids = [f"item {number}" for number in range(300)]
    cold = cold_item_rows(dataset_of([(0, 0, 0)], SplitRule(SplitKind.HASHED), item_ids))

    assert cold.dtype == np.bool_
    assert cold.tolist() == [zlib.crc32(f"item:{item_id}".encode()) % 10 == 0 for item_id in item_ids]
    assert 10 < cold.sum() < 60
