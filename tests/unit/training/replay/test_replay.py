from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gateway.engine.budget import Budget
from gateway.engine.ladder import Rung
from gateway.engine.request import RecommendRequest
from tests.bundles import make_store
from tests.unit.training.replay.conftest import NOW, REQUESTS, Hurried, Served
from tests.unit.training.replay.served import SECRET, TASTE_SHARES, NumpyScorer, open_stages, world
from training.replay.replay import Replay, Replayed, Tally, chosen
from training.replay.verdict import Verdict
from twostage.impressions.impression import Impression
from twostage.impressions.log import open_log
from twostage.impressions.user_key import UserKeys


def replay(served: Served, impressions: Sequence[Impression], scorer: NumpyScorer | None = None) -> list[Replayed]:
    replayer = Replay(served.store, served.log, epsilon=1e-6, open_stages=open_stages(scorer or NumpyScorer()))
    return list(replayer.run(impressions))


def test_answers_of_every_rung_were_served(served: Served) -> None:
    assert {response.rung for response in served.responses.values()} == set(Rung)


def test_the_log_has_every_answer_as_the_caller_got_it(served: Served) -> None:
    impressions = served.impressions
    assert len(impressions) == len(served.responses)
    for response in served.responses.values():
        logged = impressions[response.request_id]
        shown = response.recommendations
        assert list(logged.item_ids) == [item.item_id for item in shown]
        assert list(logged.scores) == [item.score for item in shown]
        assert list(logged.propensities) == [item.propensity for item in shown]
        assert list(logged.teams) == [item.team for item in shown]
        assert [source.split("|") for source in logged.sources] == [list(item.sources) for item in shown]
        assert (logged.rung, logged.rung_reason) == (response.rung.name, response.rung_reason)
        width = len(logged.actions)
        for place, item in enumerate(shown):
            told = logged.action_scores[place * width : (place + 1) * width]
            assert dict(zip(logged.actions, told, strict=True)) == dict(item.action_scores)
        missing = response.shortfall.missing_count if response.shortfall is not None else 0
        assert logged.missing_count == missing == logged.asked_count - len(shown)


def test_every_answer_is_made_again_exactly(served: Served) -> None:
    names = {response.request_id: about for about, response in served.responses.items()}
    replayed = replay(served, list(chosen(served.log)))
    assert len(replayed) == len(served.responses)
    others = {
        names[each.impression.request_id]: each.judgement
        for each in replayed
        if each.judgement.verdict is not Verdict.SAME
    }
    assert others == {}
    assert [
        each.judgement for each in replayed if each.judgement.largest_difference > 0 or each.judgement.reasons
    ] == []


def test_the_log_and_the_bundle_determine_every_bit_that_the_ranker_was_given(served: Served) -> None:
    scorer = NumpyScorer()
    replay(served, list(chosen(served.log)), scorer)
    assert len(scorer.given) == len(served.given) > 30
    for now, then in zip(scorer.given, served.given, strict=True):
        assert now.keys() == then.keys()
        for name, array in now.items():
            assert array.dtype == then[name].dtype
            assert array.tobytes() == then[name].tobytes(), name


def test_rows_and_retrieval_scores_are_those_of_the_candidates(served: Served) -> None:
    logged = served.impression("a person")
    ids = served.store.open().ids
    assert ids.rows(list(logged.item_ids)).tolist() == list(logged.rows)
    assert not np.isnan(logged.retrieval_scores).any()
    popular = served.impression("nothing, for nobody")
    assert set(popular.rows) == {-1}
    assert np.isnan(popular.retrieval_scores).all()


def test_places_in_the_ranking_tell_what_was_explored(served: Served) -> None:
    logged = served.impression("exploration for ann")
    fixed = logged.asked_count - round(0.6 * logged.asked_count)
    assert list(logged.ranking_positions[:fixed]) == list(range(1, fixed + 1))
    explored = [place > logged.asked_count for place in logged.ranking_positions]
    assert any(explored)
    for is_explored, propensity in zip(explored[fixed:], logged.propensities[fixed:], strict=True):
        assert (propensity < 0.5) == is_explored


def test_the_person_is_in_the_log_by_a_keyed_hash_alone(served: Served) -> None:
    logged = served.impression("a person")
    assert logged.user_key == UserKeys(SECRET).user("ann") != UserKeys(b"another secret, as long").user("ann")
    assert served.impression("nobody").user_key == ""
    for path in served.log.impression_files:
        assert b"ann" not in path.read_bytes()


def test_an_answer_from_the_cache_whose_origin_is_not_logged_is_not_replayed(served: Served, tmp_path: Path) -> None:
    cached = served.impression("nothing, for ann")
    assert cached.rung == "CACHED"
    lone = cached._replace(rung_reason="answered from the earlier answer deadbeef")
    (found,) = replay(served, [lone])
    assert found.judgement.verdict is Verdict.NOT_REPLAYED
    assert found.judgement.reasons == ("the earlier answer that it came from is not in the log",)


def test_a_generation_that_the_store_does_not_have_is_said(served: Served) -> None:
    (found,) = replay(served, [served.impression("nobody")._replace(generation=9)])
    assert found.judgement.verdict is Verdict.NOT_REPLAYED
    assert "9" in found.judgement.reasons[0]


def test_answers_of_several_generations_are_made_again_from_their_own(tmp_path: Path) -> None:
    with world(tmp_path) as asked:
        first = asked.route.catalogue
        before = asked.pipeline.recommend(RecommendRequest("ann", context=NOW), Budget(5.0))
        make_store(tmp_path / "store", item_count=230, seed=5, with_sources=True, source_shares=TASTE_SHARES)
        asked.swap(first)
        after = asked.pipeline.recommend(RecommendRequest("ben", context=NOW), Budget(5.0))
        asked.route.retrieval.is_down = True
        # From the answer before the swap, in the generation that it was of.
        remembered = asked.pipeline.recommend(RecommendRequest("ann", context=NOW), Budget(5.0))
    assert [answer.generation for answer in (before, after, remembered)] == [1, 2, 1]
    assert remembered.rung is Rung.CACHED
    log = open_log(asked.folder)
    replayer = Replay(asked.store, log, epsilon=1e-6, open_stages=open_stages(NumpyScorer()))
    assert [each.judgement.verdict for each in replayer.run(chosen(log))] == [Verdict.SAME] * 3


def test_where_retrieval_gave_others_than_the_bundle_the_logged_candidates_are_ranked(served: Served) -> None:
    logged = served.impression("little time")
    assert logged.rung == "FEWER_CANDIDATES"
    assert len(logged.candidate_rows) == logged.candidates_found == 60
    assert logged.ranked_count == 25
    # As if a shard with every third candidate had been left out, behind those that were ranked.
    kept = [place for place in range(60) if place < 25 or place % 3]
    other = logged._replace(
        candidate_rows=[logged.candidate_rows[place] for place in kept],
        candidate_scores=[logged.candidate_scores[place] for place in kept],
        candidates_found=len(kept),
        candidates_hash=1,
    )
    (found,) = replay(served, [other])
    assert found.judgement.reasons[0] == f"retrieval: 60 candidates instead of {len(kept)}"
    assert found.judgement.verdict is Verdict.SAME


def test_a_sample_is_drawn_by_its_seed(served: Served) -> None:
    def names(seed: int) -> list[str]:
        return [each.request_id for each in chosen(served.log, sample=7, seed=seed)]

    assert names(1) == names(1) != names(2)
    assert len(set(names(1))) == 7
    assert len(list(chosen(served.log, sample=10_000))) == len(served.responses)


def test_one_answer_is_chosen_by_its_name(served: Served) -> None:
    name = served.responses["pins"].request_id
    assert [each.request_id for each in chosen(served.log, request_id=name)] == [name]
    assert list(chosen(served.log, request_id="none")) == []


def test_verdicts_are_counted_by_rung(served: Served) -> None:
    tally = Tally()
    for replayed in replay(served, list(chosen(served.log))):
        tally.add(replayed)
    by_rung = {rung.name: tally.count(Verdict.SAME, rung=rung.name) for rung in Rung}
    served_by_rung = {rung.name: sum(response.rung is rung for response in served.responses.values()) for rung in Rung}
    assert by_rung == served_by_rung
    assert tally.count(Verdict.DIFFERENT, Verdict.NOT_REPLAYED, Verdict.NEARLY) == 0


@pytest.mark.parametrize("candidate_count", [10, 2000])
def test_candidates_are_logged_when_asked_for(tmp_path: Path, candidate_count: int) -> None:
    with world(tmp_path, candidate_count=candidate_count) as asked:
        asked.pipeline.recommend(REQUESTS["a person"], Budget(5.0))
        asked.pipeline.recommend(REQUESTS["a person"], Hurried(5.0))
        asked.route.retrieval.is_down = True
        asked.pipeline.recommend(REQUESTS["nobody"], Budget(5.0))
    assert open_log(asked.folder).impression_count() == 3
    for batch in open_log(asked.folder).impressions(["rung", "candidates_found", "candidate_rows", "candidate_scores"]):
        for row in batch.to_pylist():
            found = row["candidates_found"]
            kept_count = 2000 if row["rung"] == "FEWER_CANDIDATES" else candidate_count
            expected = min(found or 0, kept_count)
            assert len(row["candidate_rows"]) == len(row["candidate_scores"]) == expected
