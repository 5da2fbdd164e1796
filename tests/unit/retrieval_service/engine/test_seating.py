from __future__ import annotations

import pytest

from retrieval_service.engine.seating import COLD_START_SHARES, Known, seating
from twostage.candidates.source import Source

S = Source


def known(*, history: bool = False, tags: bool = False, tag_vector: bool = False, included: bool = False) -> Known:
    return Known(history=history, tags=tags or tag_vector, tag_vector=tag_vector, included=included)


def test_a_history_alone_asks_the_user_vector_alone() -> None:
    assert seating(known(history=True), 500, {}, {}) == [(S.USER_VECTOR, 500)]
    assert seating(known(history=True, tags=True), 500, {}, {}) == [(S.USER_VECTOR, 500)]


def test_the_worked_example() -> None:
    quotas = {S.NEIGHBOURS: 30, S.USER_VECTOR: 50}
    assert seating(known(history=True), 100, quotas, {}) == [(S.NEIGHBOURS, 30), (S.USER_VECTOR, 50), (S.POPULAR, 100)]


def test_shares_are_parts_of_the_count_rounded_down() -> None:
    shares = {S.TRENDING: 0.29, S.INTEREST_VECTORS: 0.155, S.USER_VECTOR: 0.5, S.NEW: 0.001}
    assert seating(known(history=True), 100, {}, shares) == [
        (S.INTEREST_VECTORS, 15),
        (S.TRENDING, 29),
        (S.USER_VECTOR, 100),
    ]


def test_a_requests_quotas_take_the_place_of_the_shares() -> None:
    assert seating(known(history=True), 100, {S.USER_VECTOR: 100}, {S.TRENDING: 0.3}) == [(S.USER_VECTOR, 100)]


def test_shares_hold_for_tags_that_search_and_not_for_those_that_do_not() -> None:
    shares = {S.TRENDING: 0.1, S.NEIGHBOURS: 0.1}
    assert seating(known(tag_vector=True), 10, {}, shares) == [
        (S.NEIGHBOURS, 1),
        (S.TRENDING, 1),
        (S.INTEREST_TAGS, 10),
    ]
    assert seating(known(tags=True), 10, {}, shares) == [(S.INTEREST_TAGS, 10), (S.POPULAR, 10)]


def test_where_nothing_is_known_popularity_leaves_room() -> None:
    seats = seating(known(), 100, {}, {S.NEIGHBOURS: 0.5})
    assert seats == [(S.TRENDING, 50), (S.REPRESENTATIVES, 5), (S.POPULAR, 100)]
    assert sum(COLD_START_SHARES.values()) == pytest.approx(0.55)


def test_what_is_included_is_seated_first_up_to_its_quota() -> None:
    assert seating(known(history=True, included=True), 9, {}, {})[0] == (S.INCLUDED, 9)
    assert seating(known(history=True, included=True), 9, {S.INCLUDED: 2}, {})[0] == (S.INCLUDED, 2)
    assert seating(known(history=True, included=True), 9, {S.INCLUDED: 0}, {}) == [(S.USER_VECTOR, 9)]


def test_quotas_beyond_the_count_are_cut_to_it_and_those_of_0_leave_a_source_out() -> None:
    quotas = {S.POPULAR: 2000, S.NEIGHBOURS: 0, S.TRENDING: 7}
    assert seating(known(history=True), 5, quotas, {}) == [(S.TRENDING, 5), (S.POPULAR, 5), (S.USER_VECTOR, 5)]
    assert seating(known(), 5, {S.POPULAR: 0}, {}) == []


def test_a_leader_that_may_end_early_is_followed_by_tags_and_popularity_up_to_their_quotas() -> None:
    person = known(history=True, tags=True)
    assert seating(person, 50, {S.USER_VECTOR: 20}, {}) == [
        (S.USER_VECTOR, 20),
        (S.INTEREST_TAGS, 50),
        (S.POPULAR, 50),
    ]
    assert seating(person, 50, {S.USER_VECTOR: 20, S.POPULAR: 3}, {}) == [
        (S.POPULAR, 3),
        (S.USER_VECTOR, 20),
        (S.INTEREST_TAGS, 50),
    ]
    assert seating(known(history=True), 50, {S.USER_VECTOR: 20, S.INTEREST_TAGS: 9}, {}) == [
        (S.USER_VECTOR, 20),
        (S.POPULAR, 50),
    ]
