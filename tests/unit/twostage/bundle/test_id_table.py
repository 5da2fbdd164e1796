from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twostage.bundle import id_table
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.id_table import IdTable

# Ids as they come: any text that UTF-8 can carry.
IDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), unique=True, max_size=60)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ids=IDS, others=IDS)
def test_every_id_has_its_row_and_every_other_none(tmp_path: Path, ids: list[str], others: list[str]) -> None:
    IdTable.write(tmp_path / "ids", ids)
    table = IdTable.open(tmp_path / "ids")
    asked = [*reversed(ids), *others]
    expected = [ids.index(i) if i in ids else -1 for i in asked]
    assert table.rows(asked).tolist() == expected
    assert table.ids(np.arange(len(ids))) == ids


def test_a_repeated_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="distinct"):
        IdTable.write(tmp_path / "ids", ["a", "b", "a"])


def test_a_collision_of_the_lower_half_takes_another_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = id_table._hashes

    def colliding(ids: list[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
        low, high = real(ids, seed)
        return (np.zeros_like(low), high) if seed == 0 else (low, high)

    monkeypatch.setattr(id_table, "_hashes", colliding)
    IdTable.write(tmp_path / "ids", ["a", "b"])
    table = IdTable.open(tmp_path / "ids")
    assert table.rows(["b", "a", "c"]).tolist() == [1, 0, -1]


def test_an_id_whose_lower_half_alone_agrees_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    IdTable.write(tmp_path / "ids", ["a"])
    table = IdTable.open(tmp_path / "ids")
    low, high = id_table._hashes(["a"], 0)
    monkeypatch.setattr(id_table, "_hashes", lambda *_: (low, high + np.uint64(1)))
    assert table.rows(["z"]).tolist() == [-1]


def test_a_missing_part_names_the_file(tmp_path: Path) -> None:
    IdTable.write(tmp_path / "ids", ["a"])
    (tmp_path / "ids.high.npy").unlink()
    with pytest.raises(BundleCorrupt, match=r"ids\.high\.npy: expected an array, found no file"):
        IdTable.open(tmp_path / "ids")
