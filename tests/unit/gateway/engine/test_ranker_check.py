from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.engine.ranker_check import check_ranker
from tests.unit.gateway.catalogue import publish_items
from twostage.bundle.generation import Generation
from twostage.errors import InvalidField


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    path: Path = tmp_path_factory.mktemp("store")
    return publish_items(path, popularity=[1.0], rankers={"content": ["liked", "rated"], "deepfm": ["liked"]})


@pytest.mark.parametrize(
    ("ranker", "blend"),
    [
        ("", {}),
        ("deepfm", {}),
        ("", {"rated": 2.0}),
        ("content", {"rated": 0.0, "liked": 1e-30}),
        ("deepfm", {"liked": 3.0}),
    ],
)
def test_rankers_and_actions_that_are_there_are_taken(
    generation: Generation, ranker: str, blend: dict[str, float]
) -> None:
    check_ranker(generation.manifest, ranker, blend)


@pytest.mark.parametrize(
    ("ranker", "blend", "message"),
    [
        ("din", {}, "ranker: expected one of content, deepfm, received 'din'"),
        ("", {"sold": 1.0}, "blend[sold]: expected one of the actions liked, rated, received 'sold'"),
        # Another ranker's action.
        ("deepfm", {"rated": 1.0}, "blend[rated]: expected one of the actions liked, received 'rated'"),
        ("", {"rated": 0.0}, "blend: expected at least one weight above 0, received {'rated': 0.0}"),
    ],
)
def test_others_are_named_with_those_there_are(
    generation: Generation, ranker: str, blend: dict[str, float], message: str
) -> None:
    with pytest.raises(InvalidField, match=re.escape(message)):
        check_ranker(generation.manifest, ranker, blend)
