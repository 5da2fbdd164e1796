"""Mixes: shares that show in what is drawn, what it is drawn from, and files that are refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.small_generation import publish_small
from twostage.bundle.histories import histories_folder, write_histories
from twostage.bundle.store import Store
from twostage.load.material import Material, store_material
from twostage.load.mix import KINDS, Drawer, Mix, MixInvalid, read_mix
from twostage.load.requests import LoadRequest
from twostage.v1 import gateway_pb2

WHOLE = """
shares: {known: 40, cold: 20, filters: 15, histories: 10, events: 10, similar: 5}
count: 7
users: [ann, bob]
items: [a, b, c]
tags: [poetry]
history_lengths: [2, 3]
filters:
  - - {attribute: language, any_of: [eng], none_of: [fre]}
    - {attribute: year, range: {min: 1990, max: 2000.5}}
events: {action: rated, values: [4, 5], per_request: 2}
seed: 3
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mix.yaml"
    path.write_text(text)
    return path


def recommend(request: LoadRequest) -> gateway_pb2.RecommendRequest:
    assert isinstance(request.message, gateway_pb2.RecommendRequest)
    return request.message


def test_kinds_come_in_their_shares_and_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    mix = read_mix(written(tmp_path, WHOLE))
    drawn = Drawer(mix).draw(4000)
    counts = Counter(request.kind for request in drawn)
    assert set(counts) == set(KINDS)
    for kind, share in mix.shares.items():
        # Within five standard deviations of a binomial.
        assert abs(counts[kind] - 40 * share) < 5 * (40 * share) ** 0.5
    assert Drawer(mix).draw(100) == drawn[:100]
    assert Drawer(mix, seed=1).draw(100) != drawn[:100]


def test_each_kind_is_made_of_what_the_file_names(tmp_path: Path) -> None:
    drawer = Drawer(read_mix(written(tmp_path, WHOLE)))
    assert recommend(drawer.one("known")).user_id in {"ann", "bob"}
    cold = recommend(drawer.one("cold"))
    assert (cold.user_id.startswith("cold-"), list(cold.interest_tags), cold.count) == (True, ["poetry"], 7)
    assert recommend(drawer.one("cold")).user_id != cold.user_id
    language, year = recommend(drawer.one("filters")).filter.conditions
    assert (language.attribute, list(language.any_of), list(language.none_of)) == ("language", ["eng"], ["fre"])
    assert (year.range.min, year.range.max) == (1990, 2000.5)
    history = recommend(drawer.one("histories")).recent_item_ids
    assert len(history) in {2, 3}
    assert set(history) <= {"a", "b", "c"}
    events = drawer.one("events").message
    assert isinstance(events, gateway_pb2.RecordEventsRequest)
    assert [(event.action, event.value in {4, 5}) for event in events.events] == [("rated", True)] * 2
    similar = drawer.one("similar").message
    assert isinstance(similar, gateway_pb2.RecommendationServiceSimilarItemsRequest)
    assert (similar.item_id in {"a", "b", "c"}, similar.count) == (True, 7)


def test_a_store_has_what_the_file_does_not_name(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    publish_small(store)
    folder = histories_folder(store, 1)
    folder.parent.mkdir(parents=True)
    write_histories(
        folder,
        user_ids=["ann", "nobody", "bob"],
        item_ids=["a", "b"],
        recorded_actions=["rated", "to_read"],
        offsets=np.array([0, 2, 2, 3]),
        rows=np.array([0, 1, 0]),
        actions=np.array([0, 1, 0]),
        values=np.array([4.0, np.nan, 5.0]),
        times=None,
    )
    material = store_material(store)
    assert material == Material(
        users=["ann", "bob"],
        items=["a", "b", "a"],
        values=[("tags", "x")],
        deeds=[("rated", 4.0), ("to_read", None), ("rated", 5.0)],
    )
    drawer = Drawer(Mix(shares=dict.fromkeys(KINDS, 1.0)), material)
    assert {request.kind for request in drawer.draw(200)} == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "given", "missing"),
    [
        ("known", Material(), "users"),
        ("filters", Material(users=["a"]), "filters"),
        ("histories", Material(users=["a"]), "items"),
        ("events", Material(users=["a"], items=["b"]), "events.action"),
        ("similar", Material(), "items"),
    ],
)
def test_a_share_that_nothing_can_be_made_of_is_refused(kind: str, given: Material, missing: str) -> None:
    mix = Mix.model_validate({"shares": {kind: 1.0}})
    with pytest.raises(MixInvalid, match=rf"^{missing}: expected some for the share '{kind}', received none"):
        Drawer(mix, given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file: input should be a valid dictionary"),
        ("{", "expected YAML"),
        ("shares: {}", "shares: dictionary should have at least 1 item"),
        ("shares: {knwon: 1}", "shares.knwon: input should be 'known'"),
        ("shares: {known: 0}", "shares.known: input should be greater than 0, received 0"),
        ("shares: {known: .nan}", "shares.known: input should be a finite number"),
        ("shares: {known: 1}\nuser: [a]", "user: extra inputs are not permitted"),
        ("shares: {known: 1}\ncount: 201", "count: input should be less than or equal to 200, received 201"),
        ("shares: {known: 1}\nusers: [1]", "users.0: input should be a valid string, received 1"),
        ("shares: {known: 1}\nfilters: [[]]", "filters.0: "),
        (
            "shares: {known: 1}\nevents: {per_request: 0}",
            "events.per_request: input should be greater than or equal to 1",
        ),
        ("shares: {known: 1}\nhistory_lengths: []", "history_lengths: "),
    ],
)
def test_a_file_that_is_no_mix_is_refused_with_field_and_value(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(MixInvalid) as error:
        read_mix(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_file_that_is_not_there_or_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MixInvalid, match="expected a file that can be read: No such file"):
        read_mix(tmp_path / "none.yaml")
    with pytest.raises(MixInvalid, match="expected at most 1048576 bytes"):
        read_mix(written(tmp_path, "#" * (1 << 20) + "\n"))
