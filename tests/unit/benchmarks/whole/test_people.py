from __future__ import annotations

import numpy as np
import pytest

from benchmarks.whole import people as people_module
from benchmarks.whole.answers import Wanted
from benchmarks.whole.people import Audience, share_found
from tests.bundles import RECORDED_ACTIONS, make_catalogue, make_store
from twostage.bundle.histories import known_people

ITEMS = 900


@pytest.fixture(name="audience", scope="module")
def _audience(tmp_path_factory: pytest.TempPathFactory) -> Audience:
    return Audience(make_store(tmp_path_factory.mktemp("audience") / "store", item_count=ITEMS, user_count=40))


def test_recall_is_the_share_of_the_exact_nearest_unseen_items(audience: Audience) -> None:
    vectors = make_catalogue(item_count=ITEMS).vectors
    people = audience.asking[:3]
    users, least = audience.exact_scores(people)
    for person, user, score in zip(people, users, least, strict=True):
        unseen = np.setdiff1d(np.arange(ITEMS), person.seen_rows)
        order = unseen[np.argsort(-(vectors[unseen] @ user), kind="stable")]
        assert audience.recall(person, user, float(score), order[:500]) == 1.0
        # Fifty of the nearest are exchanged for the farthest.
        worse = np.concatenate([order[50:500], order[-50:]])
        assert audience.recall(person, user, float(score), worse) == pytest.approx(0.9)
        assert audience.recall(person, user, float(score), order[:400]) == pytest.approx(0.8)


def test_repeated_and_seen_rows_find_nothing_more_and_what_is_past_the_count_is_not_looked_at() -> None:
    rows, scores = np.array([1, 1, 2, 3]), np.array([0.9, 0.9, 0.8, 0.7], np.float32)
    assert share_found(rows, scores, np.array([3]), 0.5) == 2 / 500
    assert share_found(rows, scores, np.array([], np.int64), 0.75) == 2 / 500
    many = np.arange(600)
    assert share_found(many, np.ones(600, np.float32), np.array([], np.int64), 0.5) == 1.0


def test_those_who_act_are_not_those_who_ask(audience: Audience) -> None:
    asking = {person.asked.user_id for person in audience.asking}
    acting = {person.asked.user_id for person in audience.acting}
    assert asking
    assert acting
    assert not asking & acting


def test_a_person_has_seen_everything_and_tastes_what_says_more_of_it(audience: Audience) -> None:
    histories = {person.user_id: person for person in known_people(audience.store, limit=100)}
    ids = audience.generation.ids
    for person in audience.everybody:
        history = histories[person.asked.user_id]
        assert person.asked.seen == frozenset(history.item_ids)
        columns = zip(history.item_ids, history.actions, history.values, strict=True)
        rated, kept = RECORDED_ACTIONS
        taste = [item for item, action, value in columns if action == kept or (action == rated and value >= 4)]
        assert ids.ids(person.taste_rows) == taste


def test_filters_let_through_exactly_the_items_with_the_value(
    audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_module, "_MOST_SHARE", 0.5)
    found = dict(Audience(audience.store).filters)
    catalogue = make_catalogue(item_count=ITEMS)
    assert found
    for wanted, allowed in found.items():
        columns = {"tags": catalogue.tags, "language": catalogue.languages}[wanted.attribute]
        assert allowed == {catalogue.item_ids[row] for row, values in enumerate(columns) if wanted.value in values}
    assert all(isinstance(wanted, Wanted) for wanted in found)


def test_requests_with_filters_are_those_that_can_be_answered_in_full(
    audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_module, "_MOST_SHARE", 0.5)
    pairs = Audience(audience.store).filtered(30)
    assert pairs
    assert all(asked.wanted is not None and len(allowed - asked.seen) >= 20 for asked, allowed in pairs)
