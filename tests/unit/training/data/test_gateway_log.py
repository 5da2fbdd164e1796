from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.data.made_log import DAY, JANUARY, KEYS, SECRET, done, shown, write_log
from tests.unit.training.data.own_files import changed, write_own
from training.data.check import check
from training.data.dataset import Dataset
from training.data.errors import DataError
from training.data.gateway_log import add_log
from training.data.read import read_dataset, read_with_log
from twostage.impressions.user_key import UserKeys


@pytest.fixture
def base(tmp_path: Path) -> Dataset:
    """Items a, b, c; u1 rated a and bought b, u2 rated a and c; the cut is at the last of the four."""
    return read_dataset(write_own(tmp_path / "data"))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(SECRET)
    return path


def told(dataset: Dataset) -> list[tuple[str, str, str, float, int]]:
    """Who did what with what, in order."""
    interactions = dataset.interactions
    assert interactions.times is not None
    columns = (interactions.users, interactions.rows, interactions.actions, interactions.values, interactions.times)
    return [
        (interactions.user_ids[user], dataset.catalogue.item_ids[row], interactions.recorded[action], value, time)
        for user, row, action, value, time in zip(*(column.tolist() for column in columns), strict=True)
    ]


def test_events_follow_the_data_in_the_order_of_time(base: Dataset, tmp_path: Path) -> None:
    events = [done("2", "new", "c", "bought", None, 50), done("1", "new", "b", "rated", 3.5, 40)]
    added = add_log(base, write_log(tmp_path / "log", events))
    name = f"log:{KEYS.user('new')}"
    assert str(told(added)[: len(base.interactions)]) == str(told(base))
    first, second = told(added)[len(base.interactions) :]
    assert first == (name, "b", "rated", 3.5, JANUARY + 40 * DAY)
    assert second[:3] == (name, "c", "bought")
    assert np.isnan(second[3])
    assert added.logged is not None
    assert (added.logged.interaction_count, added.logged.user_count) == (2, 1)


def test_with_the_secret_the_datas_people_are_recognised(base: Dataset, tmp_path: Path, key_file: Path) -> None:
    log = write_log(
        tmp_path / "log", [done("1", "u2", "b", "bought", None, 60), done("2", "x", "b", "bought", None, 61)]
    )
    added = add_log(base, log, key_file)
    assert [each[0] for each in told(added)[-2:]] == ["u2", f"log:{KEYS.user('x')}"]
    assert added.interactions.user_ids[:2] == base.interactions.user_ids
    assert added.logged is not None
    assert added.logged.user_count == 1
    assert "2 people, 1 of them the data set's" in added.notes[-1]
    # Without it both are people of whom nothing else is known.
    alone = add_log(base, log)
    assert alone.logged is not None
    assert alone.logged.user_count == 2


def test_an_event_that_was_sent_twice_counts_once(base: Dataset, tmp_path: Path) -> None:
    event = done("1", "x", "b", "bought", None, 60)
    log = write_log(write_log(tmp_path / "log", [event, event]), [event])
    assert len(add_log(base, log).interactions) == len(base.interactions) + 1


def test_where_the_last_one_is_kept_it_is_kept_again(base: Dataset, tmp_path: Path, key_file: Path) -> None:
    log = write_log(tmp_path / "log", [done("1", "u1", "a", "rated", 1.0, 60), done("2", "u2", "b", "rated", 2.0, 60)])
    added = add_log(base, log, key_file)
    rated = [each[3] for each in told(added) if each[:3] == ("u1", "a", "rated")]
    assert rated == [1.0]
    assert added.logged is not None
    assert added.logged.interaction_count == 2
    assert len(added.interactions) == len(base.interactions) + 1


def test_where_repeats_are_kept_all_are(tmp_path: Path, key_file: Path) -> None:
    events = "who,sku,what,stars,when\nu1,a,bought,,2024-01-01\nu1,a,bought,,2024-01-02\nu1,b,bought,,2024-02-03\n"
    repeating = read_dataset(write_own(tmp_path / "data", changed("repeats", "keep_all"), events=events))
    log = write_log(tmp_path / "log", [done("1", "u1", "a", "bought", None, 60)])
    assert len(add_log(repeating, log, key_file).interactions) == 4


def test_what_the_catalogue_or_the_actions_do_not_have_is_left_out_and_said(base: Dataset, tmp_path: Path) -> None:
    events = [
        done("1", "x", "gone", "bought", None, 60),
        done("2", "x", "b", "sung", None, 60),
        done("3", "", "b", "bought", None, 60),
        done("4", "x", "b", "bought", None, 60),
    ]
    added = add_log(base, write_log(tmp_path / "log", events))
    assert len(added.interactions) == len(base.interactions) + 1
    assert added.notes[-1] == "log: left out are events 1 of nobody, 1 of unknown items, 1 of unknown actions"


def test_what_was_shown_in_vain_is_told_once_with_its_last_time(base: Dataset, tmp_path: Path, key_file: Path) -> None:
    answers = [shown("u1", "abc", 3), shown("u1", "cb", 9), shown("x", ["c", "gone", "a"], 4), shown("", "abc", 5)]
    log = write_log(tmp_path / "log", [done("1", "x", "a", "bought", None, 4)], answers)
    added = add_log(base, log, key_file)
    assert added.logged is not None
    exposures = added.logged.exposures
    pairs = [
        (added.interactions.user_ids[user], added.catalogue.item_ids[row], (time - JANUARY) // DAY)
        for user, row, time in zip(
            *(c.tolist() for c in (exposures.users, exposures.rows, exposures.times)), strict=True
        )
    ]
    # u1 has a and b; x has done something with a.
    assert pairs == [("u1", "c", 9), (f"log:{KEYS.user('x')}", "c", 4)]


def test_the_cut_moves_on_so_that_the_same_part_is_test(base: Dataset, tmp_path: Path) -> None:
    assert base.interactions.times is not None
    assert base.split_rule.cut is not None
    before = float((base.interactions.times >= base.split_rule.cut).mean())
    events = [done(str(day), f"p{day}", "a", "bought", None, day) for day in range(40, 140)]
    added = add_log(base, write_log(tmp_path / "log", events))
    assert added.split_rule.cut is not None
    assert added.split_rule.cut > JANUARY + 40 * DAY
    assert added.interactions.times is not None
    assert float((added.interactions.times >= added.split_rule.cut).mean()) == pytest.approx(before, abs=0.02)


def test_data_without_times_gets_none(base: Dataset, tmp_path: Path) -> None:
    timeless = replace(base, interactions=replace(base.interactions, times=None))
    log = write_log(tmp_path / "log", [done("2", "x", "c", "bought", None, 9), done("1", "x", "a", "bought", None, 8)])
    added = add_log(timeless, log)
    assert added.interactions.times is None
    assert [added.catalogue.item_ids[row] for row in added.interactions.rows[-2:]] == ["a", "c"]


def test_another_log_has_another_fingerprint(base: Dataset, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [done("1", "x", "c", "bought", None, 9)])
    first = add_log(base, log).fingerprint
    write_log(log, [done("2", "x", "b", "bought", None, 9)])
    assert len({base.fingerprint, first, add_log(base, log).fingerprint}) == 3


def test_several_secrets_are_said(base: Dataset, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [done("1", "x", "c", "bought", None, 9)])
    write_log(log, [done("2", "x", "b", "bought", None, 9)], keys=UserKeys(SECRET + b" of another month"))
    assert add_log(base, log).notes[-1] == "log: 2 secrets, so one person may be several"


def test_a_log_of_another_secret_or_of_nobody_is_refused(base: Dataset, tmp_path: Path, key_file: Path) -> None:
    log = write_log(tmp_path / "log", [done("1", "x", "c", "bought", None, 9)])
    key_file.write_bytes(b"some other secret here")
    with pytest.raises(DataError, match=r"log: expected a log of this secret \([0-9a-f]{8}\), found [0-9a-f]{8}"):
        add_log(base, log, key_file)
    key_file.write_bytes(b"short")
    with pytest.raises(DataError, match=r"key: expected the secret of the log: .* at least 16 bytes, received 5"):
        add_log(base, log, key_file)
    nobodys = write_log(tmp_path / "nobody", [done("1", "x", "c", "bought", None, 9)._replace(user_key="")])
    with pytest.raises(DataError, match=r"expected people in the log, it was written without a secret"):
        add_log(base, nobodys)
    with pytest.raises(DataError, match=r"expected files of a log"):
        add_log(base, tmp_path / "data")


def test_check_says_what_came_from_the_log(tmp_path: Path) -> None:
    data = write_own(tmp_path / "data")
    log = write_log(tmp_path / "log", [done("1", "x", "a", "bought", None, 9)], [shown("x", "abc", 9)])
    cells = [str(cell) for column in check(data, log).columns for cell in column.cells]
    assert "1 interactions; 2 items shown to somebody who did nothing with them" in cells
    assert read_with_log(data, None).logged is None
    with pytest.raises(DataError, match="secret: expected a log that it is the secret of, there is none"):
        read_with_log(data, None, tmp_path / "secret")
