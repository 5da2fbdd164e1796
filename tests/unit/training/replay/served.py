"""A gateway's pipeline in this process, before the engines of both stages, with a log.

Everything between the stages goes through the messages that are sent when serving; only the network and the model
server are missing: a NumPy ranker scores.
"""

# ruff: noqa: ARG002 - the signatures are those of the protocols

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.messages import read_shortfall
from gateway.adapters.ranking import RankingAdapter
from gateway.adapters.retrieval_messages import retrieve_message
from gateway.engine.catalogue import Catalogue
from gateway.engine.ladder import StageUnavailable
from gateway.engine.person import Person
from gateway.engine.plan import Plan
from gateway.engine.request import RecommendRequest
from gateway.engine.stages import NO_QUOTAS, Retrieved, Route
from gateway.impressions.log_folder import LogFolder, Retention
from gateway.impressions.log_writer import Rolling
from gateway.impressions.recorders import Logs
from gateway.observer import Observer
from gateway.pipeline import Pipeline
from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import NewEvent
from ranking_service.convert import to_query, to_response
from ranking_service.engine.engine import RankingEngine
from retrieval_service.convert import query_of, response_of
from retrieval_service.engine.engine import RetrievalEngine
from tests.bundles import make_store
from training.replay.generation_stages import GenerationStages
from twostage.bundle.generation import Generation
from twostage.bundle.store import Store
from twostage.features.model_inputs import CANDIDATE_FEATURES, HISTORY_FEATURES, HISTORY_MASK, RETRIEVAL_SCORES
from twostage.impressions.user_key import UserKeys
from twostage.v1 import ranking_pb2, retrieval_pb2

SECRET = b"a secret of the tests"
ITEM_COUNT = 300
TASTE_SHARES = {"neighbours": 0.2, "interest_vectors": 0.1}


@dataclass
class NumpyScorer:
    """A ranker of three actions; keeps what it was given."""

    given: list[dict[str, NDArray[Any]]] = field(default_factory=list)

    def score(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any]:
        self.given.append({name: np.array(array) for name, array in inputs.items()})
        mask = inputs[HISTORY_MASK][0]
        entries = inputs[HISTORY_FEATURES][0].astype(np.float32) * mask[:, np.newaxis]
        candidates = inputs[CANDIDATE_FEATURES].astype(np.float32)
        likeness = candidates[:, :-1] @ (entries.sum(axis=0) / max(mask.sum(), 1.0))
        logits = np.stack([likeness * slope for slope in (2.0, 4.0, 1.0)], axis=1)
        logits += np.outer(inputs[RETRIEVAL_SCORES], [0.5, 1.0, 3.0]) + candidates[:, -1:]
        scores: NDArray[np.float32] = (1 / (1 + np.exp(-logits))).astype(np.float32)
        return scores


class InProcessRetrieval:
    """Retrieval by the messages that are sent, without sending them."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._engine = RetrievalEngine.open(generation)
        self.is_down = False

    def retrieve(
        self,
        request: RecommendRequest,
        person: Person,
        *,
        generation: int,
        count: int,
        timeout_seconds: float,
        quotas: Mapping[str, int] = NO_QUOTAS,
        include_item_ids: Sequence[str] = (),
    ) -> Retrieved[CandidateMessage]:
        if self.is_down:
            raise StageUnavailable("retrieval", "down for a test")
        asked = retrieve_message(
            request, person, generation=generation, count=count, quotas=quotas, include_item_ids=include_item_ids
        )
        sent = retrieval_pb2.RetrieveRequest.FromString(asked.SerializeToString())
        query = query_of(sent, self._generation.ids)
        found = self._engine.retrieve(query)
        response = response_of(found, generation=generation, history_rows=query.history.rows, ids=None, resolve_ms=0.0)
        response = retrieval_pb2.RetrieveResponse.FromString(response.SerializeToString())
        return Retrieved(CandidateMessage(response.candidates), read_shortfall(response), ())


class InProcessRankingServer:
    """Ranking's engine where the adapter expects calls to replicas."""

    def __init__(self, generation: Generation) -> None:
        self._engine = RankingEngine.open(generation)
        self.scorer = NumpyScorer()
        self.is_down = False

    def ask(self, question: Any) -> ranking_pb2.RankResponse:
        """What a call over the network would answer."""
        if self.is_down:
            raise StageUnavailable("ranking", "down for a test")
        sent = ranking_pb2.RankRequest.FromString(question.message.SerializeToString())
        query = to_query(sent, self._engine.rows_of, self._engine.action_codes)
        response = to_response(self._engine.number, self._engine.rank(query, self.scorer, 5.0))
        return ranking_pb2.RankResponse.FromString(response.SerializeToString())


class OneRoute:
    """Everybody holds one generation; the gateway the one before it as well, where there is one."""

    def __init__(self, generation: Generation, before: Catalogue | None = None) -> None:
        self.catalogue = Catalogue(generation)
        self.before = before
        self.retrieval = InProcessRetrieval(generation)
        self.ranking = InProcessRankingServer(generation)

    def choose(self, generation: int | None = None) -> Route[CandidateMessage]:
        calls: Any = self.ranking
        return Route(self.catalogue, self.retrieval, RankingAdapter(calls))

    def held(self, number: int) -> Catalogue | None:
        return next((each for each in (self.catalogue, self.before) if each and each.number == number), None)

    def choose_similar(self, item_id: str) -> Any:
        raise NotImplementedError


@dataclass
class Plans:
    """The plan that is set stands for all."""

    current: Plan = field(default_factory=lambda: Plan(candidate_count=60))

    def plan(self, request: RecommendRequest, request_id: str) -> Plan:
        return self.current


@dataclass
class World:
    """What a test asks and breaks.

    Attributes:
        folder: Of the log.
        scorer: What the serving ranker was given.
    """

    store: Store
    folder: Path
    pipeline: Pipeline[CandidateMessage]
    plans: Plans
    route: OneRoute
    logs: Logs

    @property
    def scorer(self) -> NumpyScorer:
        return self.route.ranking.scorer

    def swap(self, before: Catalogue) -> None:
        """Everybody holds the store's newest generation from now on."""
        vars(self.route).update(vars(OneRoute(self.store.open(), before)))


def open_stages(scorer: NumpyScorer) -> Any:
    """Opens a generation for replay with a scorer that keeps what it is given."""

    def opened(store: Store, number: int) -> GenerationStages:
        generation = store.open(number)
        return GenerationStages(generation, RetrievalEngine.open(generation), RankingEngine.open(generation), scorer)

    return opened


@contextmanager
def world(folder: Path, *, candidate_count: int = 0) -> Iterator[World]:
    """A store, a user store in which ``ann`` has a history, and a log that is complete behind the block."""
    store = make_store(folder / "store", item_count=ITEM_COUNT, with_sources=True, source_shares=TASTE_SHARES)
    users = SqliteUserStore(folder / "users.sqlite")
    ids = store.open().ids.ids(np.arange(0, 60, 3))
    users.record(
        [
            NewEvent(str(n), "ann", item_id, "rated" if n % 3 else "to_read", 4.5 if n % 3 else None, 1_700_000_000 + n)
            for n, item_id in enumerate(ids)
        ]
    )
    registry = CollectorRegistry()
    logs = Logs.open(
        LogFolder(folder / "log", Retention()),
        UserKeys(SECRET),
        registry,
        rolling=Rolling(),
        candidate_count=candidate_count,
    )
    plans, route = Plans(), OneRoute(store.open())
    pipeline = Pipeline(route, users, plans=plans, observer=Observer(registry), recorder=logs.recorder)
    try:
        yield World(store, folder / "log", pipeline, plans, route, logs)
    finally:
        logs.close(20.0)
        users.close()
