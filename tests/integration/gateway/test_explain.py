"""Explain over the real stages, against their answers and against brute force."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import structlog
from prometheus_client import CollectorRegistry

from gateway.server import build
from gateway.settings import GatewaySettings
from retrieval_service.engine.engine import RetrievalEngine
from tests.bundles import make_catalogue
from tests.integration.gateway.servers import ITEM_COUNT, Servers, ids
from twostage.bundle.store import Store
from twostage.client import Client, InvalidRequest, NotFound
from twostage.features.history import History
from twostage.v1 import common_pb2, gateway_pb2, ranking_pb2, ranking_pb2_grpc, retrieval_pb2

CATALOGUE = make_catalogue()
CANDIDATE_COUNT = 40
MINE = [CATALOGUE.item_ids[row] for row in (3, 7, 11)]
EXCLUDED = [CATALOGUE.item_ids[row] for row in (20, 21)]
CAP = 3
COUNT = 6


@pytest.fixture(scope="module")
def narrow(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A gateway that asks the same stages for fewer candidates than there are items."""
    settings = GatewaySettings(
        store=servers.store,
        port=0,
        metrics_port=0,
        users=str(tmp_path_factory.mktemp("narrow") / "users.sqlite"),
        retrieval=str(servers.retrieval.announcement["address"]),
        ranking=str(servers.ranking.announcement["address"]),
        candidate_count=CANDIDATE_COUNT,
    )
    server, prepare = build(settings, structlog.get_logger(), CollectorRegistry())
    with server:
        prepare()
        with Client(server.address, timeout_seconds=5) as client:
            yield client


@pytest.fixture(scope="module")
def user_scores(servers: Servers) -> np.ndarray:
    """float32[N], user vector · item vector by brute force."""
    engine = RetrievalEngine.open(Store(servers.store).open(1))
    rows = np.array([CATALOGUE.item_ids.index(item_id) for item_id in MINE], np.uint32)
    vector = engine.user_vector(History.of_rows(rows))
    assert vector is not None
    return CATALOGUE.vectors @ vector


@pytest.fixture(scope="module")
def ranker_scores(servers: Servers, user_scores: np.ndarray) -> np.ndarray:
    """float64[N], the blended score of every item, as the ranking service gives it for all of them at once."""
    rows = [CATALOGUE.item_ids.index(item_id) for item_id in MINE]
    columns = retrieval_pb2.CandidateColumns(
        rows=range(ITEM_COUNT), scores=user_scores.tolist(), sources=[1] * ITEM_COUNT
    )
    with grpc.insecure_channel(str(servers.ranking.announcement["address"])) as channel:
        response = ranking_pb2_grpc.RankingServiceStub(channel).Rank(
            ranking_pb2.RankRequest(history=common_pb2.History(rows=rows), candidates=columns, count=ITEM_COUNT),
            timeout=10,
        )
    scores = np.empty(ITEM_COUNT)
    for item in response.items:
        scores[item.row] = item.score
    return scores


def request() -> gateway_pb2.RecommendRequest:
    return gateway_pb2.RecommendRequest(
        recent_item_ids=MINE,
        count=COUNT,
        exclude_item_ids=EXCLUDED,
        filter=common_pb2.Filter(
            conditions=[
                common_pb2.Condition(attribute="language", none_of=["ger"]),
                common_pb2.Condition(attribute="year", range=common_pb2.Range(min=1920)),
            ]
        ),
        diversity=common_pb2.Diversity(caps=[common_pb2.Cap(attribute="tags", max_count=CAP)]),
    )


def test_every_item_is_told_as_the_answer_and_brute_force_have_it(
    narrow: Client, user_scores: np.ndarray, ranker_scores: np.ndarray
) -> None:
    asked = request()
    answer = ids(
        narrow.recommend(
            recent_item_ids=MINE,
            count=COUNT,
            exclude_item_ids=EXCLUDED,
            condition_filter=asked.filter,
            diversity=asked.diversity,
        )
    )
    allowed = [
        row
        for row in range(ITEM_COUNT)
        if CATALOGUE.item_ids[row] not in {*MINE, *EXCLUDED}
        and CATALOGUE.languages[row] != ["ger"]
        and CATALOGUE.years[row] >= 1920
    ]
    candidates = sorted(allowed, key=lambda row: -user_scores[row])[:CANDIDATE_COUNT]
    order = sorted(candidates, key=lambda row: -ranker_scores[row])
    taken: list[int] = []
    for row in order:
        shared = [sum(tag in CATALOGUE.tags[other] for other in taken) for tag in CATALOGUE.tags[row]]
        if len(taken) < COUNT and max(shared, default=0) < CAP:
            taken.append(row)
    assert answer == [CATALOGUE.item_ids[row] for row in taken], "the brute force is the answer"
    last_turn = order.index(taken[-1]) if len(taken) == COUNT else len(order)
    told = {}
    for row, item_id in enumerate(CATALOGUE.item_ids):
        why = told[row] = narrow.explain(item_id, asked)
        lost = [step for step in why.steps if step.effect == gateway_pb2.EXPLAIN_EFFECT_LOST]
        assert (why.rung, why.generation) == (gateway_pb2.RUNG_FULL, 1)
        assert why.recommendation.title == CATALOGUE.titles[row]
        if item_id in answer:
            assert (why.outcome, why.position) == (gateway_pb2.ITEM_OUTCOME_RECOMMENDED, answer.index(item_id) + 1)
            assert lost == []
            continue
        assert lost == [why.steps[-1]]
        last = lost[0]
        if item_id in {*MINE, *EXCLUDED}:
            assert why.outcome == gateway_pb2.ITEM_OUTCOME_EXCLUDED
            assert last.rule == ("seen" if item_id in MINE else "exclude_item_ids")
        elif row not in allowed:
            assert why.outcome == gateway_pb2.ITEM_OUTCOME_FILTERED
            assert last.rule == ("conditions[0]" if CATALOGUE.languages[row] == ["ger"] else "conditions[1]")
        elif row not in candidates:
            assert why.outcome == gateway_pb2.ITEM_OUTCOME_NOT_RETRIEVED
            assert last.numbers["score"] == pytest.approx(user_scores[row], abs=1e-5)
            assert last.numbers["least_user_vector_score"] == pytest.approx(user_scores[candidates[-1]], abs=1e-5)
            assert last.numbers["if_retrieved.score"] == pytest.approx(ranker_scores[row], abs=1e-5)
            place = int(np.sum(ranker_scores[candidates[:-1]] > ranker_scores[row])) + 1
            assert last.numbers["if_retrieved.rank"] == place
        else:
            assert why.recommendation.score == pytest.approx(ranker_scores[row], abs=1e-5)
            ranking = next(step for step in why.steps if step.stage == "ranking")
            assert ranking.numbers["rank"] == order.index(row) + 1
            capped = order.index(row) < last_turn
            assert why.outcome == (
                gateway_pb2.ITEM_OUTCOME_PASSED_OVER if capped else gateway_pb2.ITEM_OUTCOME_OUTRANKED
            )
            assert last.rule == ("cap tags" if capped else "score")
    outcomes = {why.outcome for why in told.values()}
    assert len(outcomes) == 6, "the request loses items in every way"


def test_what_the_user_store_remembers_is_told_as_seen(narrow: Client, client: Client) -> None:
    seen = client.recommend("user-3", count=200, include_seen=True)
    unseen = client.recommend("user-3", count=200)
    hidden = set(ids(seen)) - set(ids(unseen))
    assert hidden
    for item_id in sorted(hidden)[:3]:
        why = client.explain(item_id, gateway_pb2.RecommendRequest(user_id="user-3"))
        assert (why.outcome, why.lost_by) == (gateway_pb2.ITEM_OUTCOME_EXCLUDED, "user: seen")
        assert "user store" in why.steps[-1].words
        assert narrow.explain(item_id, gateway_pb2.RecommendRequest(user_id="user-3")).lost_by != "user: seen"


def test_diversity_names_the_kept_item_that_is_most_alike(narrow: Client) -> None:
    asked = gateway_pb2.RecommendRequest(recent_item_ids=MINE, count=8, diversity=common_pb2.Diversity(strength=0.7))
    answer = ids(narrow.recommend(recent_item_ids=MINE, count=8, diversity=asked.diversity))
    passed_over = 0
    for row, item_id in enumerate(CATALOGUE.item_ids):
        why = narrow.explain(item_id, asked)
        assert (why.position > 0) == (item_id in answer)
        if why.lost_by == "selection: diversity":
            passed_over += 1
            likeness = [
                float(CATALOGUE.vectors[row] @ CATALOGUE.vectors[CATALOGUE.item_ids.index(each)]) for each in answer
            ]
            last = why.steps[-1]
            assert last.numbers["greatest_similarity"] == pytest.approx(max(likeness), abs=1e-5)
            assert answer[int(np.argmax(likeness))] in last.words
            assert 0 <= last.numbers["relevance"] <= 1
    assert passed_over


def test_a_recommended_item_comes_with_reasons(narrow: Client) -> None:
    first = ids(narrow.recommend(recent_item_ids=MINE, count=5))[0]
    why = narrow.explain(first, gateway_pb2.RecommendRequest(recent_item_ids=MINE, count=5))
    assert {each.item_id for each in why.recommendation.explanations} <= set(MINE)
    assert why.recommendation.explanations
    assert why.recommendation.trace.final_rank == 1


def test_bad_questions_are_refused_by_name(narrow: Client) -> None:
    with pytest.raises(NotFound, match="nix"):
        narrow.explain("nix")
    with pytest.raises(InvalidRequest, match=r"item_id: expected 1"):
        narrow.explain("")
    with pytest.raises(InvalidRequest, match=r"request\.count: expected"):
        narrow.explain("item-3", gateway_pb2.RecommendRequest(count=0))
    wrong = common_pb2.Filter(conditions=[common_pb2.Condition(attribute="nix", any_of=["a"])])
    with pytest.raises(InvalidRequest, match=r"request\.filter\.conditions\[0\]\.attribute"):
        narrow.explain("item-3", gateway_pb2.RecommendRequest(filter=wrong))


def test_without_a_history_popularity_says_why_an_item_is_no_candidate(narrow: Client) -> None:
    answer = narrow.recommend(count=CANDIDATE_COUNT, trace=True)
    candidates = {item.item_id: item for item in answer.recommendations}
    popular = [CATALOGUE.item_ids.index(i) for i, item in candidates.items() if "popular" in item.sources]
    lost = [row for row, item_id in enumerate(CATALOGUE.item_ids) if item_id not in candidates]
    for row in lost[::10]:
        why = narrow.explain(CATALOGUE.item_ids[row], gateway_pb2.RecommendRequest(count=CANDIDATE_COUNT))
        last = why.steps[-1]
        assert (why.outcome, last.rule) == (gateway_pb2.ITEM_OUTCOME_NOT_RETRIEVED, "popular")
        assert last.numbers["popularity"] == CATALOGUE.popularity[row]
        assert last.numbers["least_popular_popularity"] == CATALOGUE.popularity[popular].min()
        assert "score" not in last.numbers, "nobody has a vector to score with"
        assert last.numbers["if_retrieved.rank"] >= 1
