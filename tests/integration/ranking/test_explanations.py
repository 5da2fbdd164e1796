"""Explanations over the wire, from a real model, beside the same computed in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.bundles import make_catalogue
from tests.integration.ranking.asking import rank_request
from tests.integration.ranking.processes import RankingProcess
from tests.integration.ranking.reference import ITEM_COUNT, reference
from twostage.v1 import common_pb2

_HISTORY = [1, 2, 3]
_WEIGHTS = [0.5, 0.25, 0.25]


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def _score(history: list[int], row: int, retrieval_score: float, lacking: int | None) -> float:
    """What an item would have scored without an entry of a history; the mean is then over those that are left."""
    kept = [entry for entry in history if entry != lacking]
    return float(reference(kept, [row], [retrieval_score])[1][0])


def test_each_explanation_tells_both_stages_parts(service: RankingProcess) -> None:
    request = rank_request(explain=True, history_weights=_WEIGHTS)
    catalogue = make_catalogue(item_count=ITEM_COUNT)
    vectors: NDArray[np.float32] = catalogue.vectors
    response = service.rank(request)
    assert response.ranker == "default"
    assert any(item.explanations for item in response.items)
    for item in response.items:
        assert len(item.explanations) == len(item.reasons) <= 3
        retrieval_score = request.candidates.scores[item.candidate_index]
        carried = []
        for told, reason in zip(item.explanations, item.reasons, strict=True):
            row = catalogue.item_ids.index(told.item_id)
            attention = _WEIGHTS[_HISTORY.index(row)]
            similarity = float(vectors[item.row] @ vectors[row])
            assert told.title == catalogue.titles[row]
            assert told.attention == pytest.approx(attention, abs=1e-6)
            assert told.similarity == pytest.approx(similarity, abs=1e-4)
            assert told.retrieval_part == pytest.approx(attention * similarity, abs=1e-4)
            whole, without = (_score(_HISTORY, item.row, retrieval_score, lacking) for lacking in (None, row))
            assert told.ranking_effect == pytest.approx(_logit(whole) - _logit(without), abs=2e-3)
            assert reason.startswith(f"because of {told.title} (")
            carried.append(max(told.retrieval_part, 0) + max(told.ranking_effect, 0))
        assert all(one > 0 for one in carried)


def test_without_weights_and_unasked_nothing_is_claimed(service: RankingProcess) -> None:
    told = [one for item in service.rank(rank_request(explain=True)).items for one in item.explanations]
    assert told
    assert all((one.attention, one.retrieval_part) == (0, 0) for one in told)
    assert any(one.ranking_effect for one in told)
    silent = service.rank(rank_request(history_weights=_WEIGHTS))
    assert not any(item.explanations or item.reasons for item in silent.items)
    assert "explain" not in {timing.stage for timing in silent.timings}


def test_nobody_has_nothing_to_explain(service: RankingProcess) -> None:
    response = service.rank(rank_request(explain=True, history=common_pb2.History()))
    assert len(response.items) == 10
    assert not any(item.explanations for item in response.items)


def test_the_request_s_blend_decides_what_an_effect_is(service: RankingProcess) -> None:
    def effects(blend: dict[str, float]) -> list[float]:
        response = service.rank(rank_request(explain=True, blend=blend, count=100))
        return [round(one.ranking_effect, 6) for item in response.items for one in item.explanations]

    # The slopes of the tiny ranker's actions are 2 and 4.
    rated, liked = effects({"rated": 1.0}), effects({"liked": 1.0})
    assert max(liked) == pytest.approx(2 * max(rated), rel=0.01)
