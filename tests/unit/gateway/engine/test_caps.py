from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.caps import CapCounter
from tests.unit.gateway.catalogue import publish_items
from twostage.bundle.attributes import Attributes
from twostage.errors import InvalidField
from twostage.features.diversity import Cap

TAGS = [[], ["x"], ["x", "y"], ["y"], ["x"], ["z", "x"], ["z"], ["y", "z"], [], ["x"]]


@pytest.fixture(scope="module")
def attributes(tmp_path_factory: pytest.TempPathFactory) -> Attributes:
    path: Path = tmp_path_factory.mktemp("store")
    return publish_items(path, popularity=[1.0] * len(TAGS), tags=TAGS).attributes


@given(rows=st.permutations(range(len(TAGS))), limit=st.integers(1, 4), count=st.integers(1, 12))
def test_no_value_is_shared_more_often_than_its_cap(
    attributes: Attributes, rows: list[int], limit: int, count: int
) -> None:
    # Brute force: take each row in order unless one of its values has had its share.
    shares: Counter[str] = Counter()
    expected: list[int] = []
    for row in rows:
        if len(expected) < count and all(shares[tag] < limit for tag in TAGS[row]):
            expected.append(row)
            shares.update(TAGS[row])

    positions = CapCounter([Cap("tags", limit)], attributes).first(rows, count)

    assert [rows[position] for position in positions] == expected


def test_a_cap_on_a_number_is_refused(attributes: Attributes) -> None:
    with pytest.raises(InvalidField, match=r"diversity\.caps\[1\]\.attribute: expected an attribute with values"):
        CapCounter([Cap("tags", 1), Cap("year", 1)], attributes)


def test_a_cap_on_an_unknown_attribute_lists_those_there_are(attributes: Attributes) -> None:
    with pytest.raises(InvalidField, match=r"diversity\.caps\[0\]\.attribute: expected one of tags, year"):
        CapCounter([Cap("author", 1)], attributes)
