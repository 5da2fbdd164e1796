from __future__ import annotations

import pytest

from tests.unit.twostage.generations.made_store import MadeStore, numbers
from twostage.bundle.errors import BundleCorrupt, GenerationMissing, StoreMissing
from twostage.errors import NotReady


def test_a_bad_generation_is_refused_once_and_the_old_one_serves_on(made: MadeStore) -> None:
    keeper = made.keeper()
    keeper.start()
    made.faults[2] = BundleCorrupt("items/ids", "sha256 1", "sha256 2")
    made.publish(2)
    for _ in range(3):
        made.seconds += 1000
        keeper.look()
    assert made.prepared == [1, 2]
    assert numbers(keeper) == [1]
    (refusal,) = keeper.refused
    assert (refusal.number, refusal.reason) == (2, "items/ids: expected sha256 1, found sha256 2")
    assert made.warnings == ["generation refused"]


def test_a_refused_generation_is_tried_again_when_current_comes_back_to_it(made: MadeStore) -> None:
    keeper = made.keeper()
    keeper.start()
    made.faults[2] = BundleCorrupt("items/ids", "a file", "none")
    made.publish(2)
    keeper.look()
    made.faults.clear()
    made.point(1)
    keeper.look()
    made.point(2)
    keeper.look()
    assert numbers(keeper) == [2, 1]
    assert keeper.refused == ()


def test_a_refused_generation_is_tried_again_when_its_manifest_is_replaced(made: MadeStore) -> None:
    keeper = made.keeper()
    keeper.start()
    made.faults[2] = BundleCorrupt("items/ids", "a file", "none")
    made.publish(2)
    keeper.look()
    made.faults.clear()
    keeper.look()
    assert numbers(keeper) == [1]
    made.publish(2)
    keeper.look()
    assert numbers(keeper) == [2, 1]


def test_what_may_pass_is_tried_again_at_growing_intervals_and_told_once(made: MadeStore) -> None:
    keeper = made.keeper(retry_seconds=(5.0, 60.0))
    keeper.start()
    made.faults[2] = NotReady("the model server does not answer", "at host:1")
    made.publish(2)
    tried_at: list[float] = []
    made.on_prepare = lambda _: tried_at.append(made.seconds)
    for second in range(200):
        made.seconds = float(second)
        keeper.look()
    assert tried_at == [0, 5, 15, 35, 75, 135, 195]
    assert made.warnings == ["generation refused"]
    assert keeper.refused[0].reason == "not ready: the model server does not answer (at host:1)"
    made.faults.clear()
    made.seconds = 255.0
    keeper.look()
    assert numbers(keeper) == [2, 1]


def test_a_defect_of_ours_refuses_too_and_names_its_kind(made: MadeStore) -> None:
    keeper = made.keeper()
    keeper.start()
    made.faults[2] = KeyError("tower")
    made.publish(2)
    keeper.look()
    assert keeper.refused[0].reason == "KeyError: 'tower'"
    assert numbers(keeper) == [1]


def test_a_current_that_points_to_nothing_is_refused_and_served_once_it_is_there(made: MadeStore) -> None:
    keeper = made.keeper()
    keeper.start()
    made.point(7)
    for _ in range(3):
        keeper.look()
    assert numbers(keeper) == [1]
    assert [(refusal.number, refusal.reason) for refusal in keeper.refused] == [
        (7, "generation 7 is not in the store; present: 1")
    ]
    made.publish(7)
    keeper.look()
    assert (numbers(keeper), keeper.refused) == ([7, 1], ())


@pytest.mark.parametrize("damage", ["", "x", "²"])
def test_a_store_that_cannot_be_read_changes_nothing_and_is_told_once(made: MadeStore, damage: str) -> None:
    keeper = made.keeper()
    keeper.start()
    if damage:
        made.point(damage)
    else:
        (made.path / "CURRENT").unlink()
    for _ in range(3):
        keeper.look()
    assert numbers(keeper) == [1]
    assert keeper.refused == ()
    assert len(made.warnings) == 1
    made.publish(2)
    keeper.look()
    assert numbers(keeper) == [2, 1]


def test_a_start_with_a_bad_current_serves_the_newest_earlier_one_loudly(made: MadeStore) -> None:
    for number in (2, 3, 4):
        made.publish(number)
    made.faults = {4: BundleCorrupt("a", "b", "c"), 3: NotReady("no model")}
    keeper = made.keeper()
    assert keeper.start().number == 2
    assert [refusal.number for refusal in keeper.refused] == [4, 3]
    assert made.warnings == ["generation refused", "generation refused", "an earlier generation is served"]
    keeper.look()
    assert numbers(keeper) == [2, 1]
    assert made.prepared == [4, 3, 2, 1]


def test_a_start_where_current_points_to_nothing_serves_the_newest_before_it(made: MadeStore) -> None:
    made.publish(2)
    made.publish(9, current=False)
    made.point(5)
    keeper = made.keeper()
    assert keeper.start().number == 2
    assert [refusal.number for refusal in keeper.refused] == [5]


def test_a_start_where_nothing_can_be_served_fails_as_current_did(made: MadeStore) -> None:
    made.publish(2)
    made.faults = {2: BundleCorrupt("two", "a", "b"), 1: BundleCorrupt("one", "a", "b")}
    with pytest.raises(BundleCorrupt, match="two: expected"):
        made.keeper().start()
    made.point(3)
    with pytest.raises(GenerationMissing):
        made.keeper().start()
    (made.path / "CURRENT").unlink()
    with pytest.raises(StoreMissing):
        made.keeper().start()


def test_an_earlier_generation_that_cannot_be_held_is_told_and_not_tried_again(made: MadeStore) -> None:
    made.publish(2)
    made.faults[1] = BundleCorrupt("a", "b", "c")
    keeper = made.keeper()
    keeper.start()
    for _ in range(3):
        keeper.look()
    assert made.prepared == [2, 1]
    assert [refusal.number for refusal in keeper.refused] == [1]
    assert numbers(keeper) == [2]
