from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.histories import UserHistory, read_histories, write_histories


def write(folder: Path, rows: list[int]) -> None:
    write_histories(
        folder,
        user_ids=["ann", "bob", "çem"],
        item_ids=["x", "y", "z"],
        recorded_actions=["rated", "to_read"],
        offsets=np.array([0, 2, 2, 3]),
        rows=np.array(rows),
        actions=np.array([0, 1, 0]),
        values=np.array([4.0, np.nan, 1.0]),
        times=None,
    )


def test_histories_come_back_person_by_person(tmp_path: Path) -> None:
    write(tmp_path / "1", [2, 0, 1])
    ann, bob, cem = read_histories(tmp_path / "1")
    assert (ann.user_id, ann.item_ids, ann.actions, ann.times) == ("ann", ["z", "x"], ["rated", "to_read"], [0, 0])
    assert ann.values[0] == 4.0
    assert np.isnan(ann.values[1])
    assert bob == UserHistory("bob", [], [], [], [])
    assert (cem.user_id, cem.item_ids, cem.values) == ("çem", ["y"], [1.0])


def test_a_row_past_the_catalogue_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "1", [2, 0, 3])
    with pytest.raises(BundleCorrupt, match="within bounds"):
        next(read_histories(tmp_path / "1"))
