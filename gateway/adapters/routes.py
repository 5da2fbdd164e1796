"""Chooses, for each request, the generation that it is answered from and the replica that finds its candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.ranking import STAGE as RANKING
from gateway.adapters.ranking import RankingAdapter, RankingCalls
from gateway.adapters.retrieval import RetrievalAdapter, RetrievalCalls
from gateway.adapters.retrieval_messages import STAGE as RETRIEVAL
from gateway.adapters.sharded_retrieval import ShardedRetrievalAdapter
from gateway.engine.catalogue import Catalogue
from gateway.engine.generation_choice import Part, by_preference, common_generations, describe_held, first_held
from gateway.engine.ladder import NoCommonGeneration
from gateway.engine.stage_times import StageTimes
from gateway.engine.stages import Route, SimilarRoute
from twostage.errors import NotReady
from twostage.rpc.channels import Replicas


class StageRoutes:
    """Routes by what each replica is known to hold; implements :class:`gateway.engine.stages.Routes`.

    Where each replica of retrieval holds the whole index, one is chosen as ever, by the work it has, among those that
    hold any generation which ranking and the gateway hold too; it is then asked for the most wanted of them. So a
    replica that lags still takes its share, from the generation it has. Where retrieval is in shards the generation
    comes first, because every shard must hold it.

    Args:
        catalogues: Tells what the gateway holds, the active one first.
        note_asked: Told each generation that is chosen.
        retrieval: Whom to ask of the first stage: for each shard, or for all rows.
        ranking: Whom to ask of the second stage.
        times: Where the stages' times are recorded; nowhere when None.
    """

    def __init__(
        self,
        catalogues: Callable[[], tuple[Catalogue, ...]],
        retrieval: Sequence[RetrievalCalls],
        ranking: RankingCalls,
        note_asked: Callable[[int], None] = lambda _: None,
        times: StageTimes | None = None,
    ) -> None:
        self._catalogues = catalogues
        self._note_asked = note_asked
        self._retrieval = retrieval
        self._times = times
        self._ranking = ranking.replicas
        self._stages: tuple[Replicas[Any], ...] = (*(calls.replicas for calls in retrieval), ranking.replicas)
        self._ranking_adapter = RankingAdapter(ranking, times)

    def choose(self, generation: int | None = None) -> Route[CandidateMessage]:
        """Chooses for a recommendation; see :meth:`Routes.choose`."""
        own = self._what_is_held(generation)
        if self._nobody_lacks(own.wanted[0]):
            # As nearly always.
            return Route(*self._to_retrieval(own, own.wanted[:1]), self._ranking_adapter)
        shards, ranking = self._shard_parts(), _part(self._ranking)
        common = common_generations(own.wanted, [*shards, ranking])
        if common:
            return Route(*self._to_retrieval(own, common), self._ranking_adapter)
        found = common_generations(own.wanted, shards)
        if found:
            why = _without(own, {RETRIEVAL: shards, RANKING: [ranking]})
            return Route(*self._to_retrieval(own, found), _Absent(RANKING, why))
        absent = _Absent(RETRIEVAL, _without(own, {RETRIEVAL: shards}))
        return Route(own.catalogues[0], absent, absent)

    def held(self, number: int) -> Catalogue | None:
        """A generation of the gateway's own; see :meth:`Routes.held`."""
        return next((catalogue for catalogue in self._catalogues() if catalogue.number == number), None)

    def choose_similar(self, item_id: str) -> SimilarRoute:
        """Chooses for items similar to one; see :meth:`Routes.choose_similar`."""
        own = self._what_is_held()
        # An item that came with the newest generation is not unknown because a replica lags.
        having = tuple(number for number in own.wanted if own.by_number[number].rows.rows([item_id])[0] >= 0)
        wanted = having or own.wanted
        shards = self._shard_parts()
        common = common_generations(wanted, shards)
        if common:
            return SimilarRoute(*self._to_retrieval(own, common))
        return SimilarRoute(own.by_number[wanted[0]], _Absent(RETRIEVAL, _without(own, {RETRIEVAL: shards})))

    def _what_is_held(self, preferred: int | None = None) -> _Own:
        """What the gateway holds, in order; never kept, for a generation is let go of with its last request."""
        catalogues = self._catalogues()
        if not catalogues:
            raise NotReady("loading")
        by_number = {catalogue.number: catalogue for catalogue in catalogues}
        wanted = by_preference(catalogues[0].number, by_number)
        if preferred is not None and preferred in by_number:
            wanted = (preferred, *(number for number in wanted if number != preferred))
        return _Own(catalogues, wanted, by_number)

    def _nobody_lacks(self, generation: int) -> bool:
        """Says whether no replica of any stage is known to lack a generation, which then is common to all."""
        for replicas in self._stages:
            for replica in replicas.connections():
                held = replica.held
                if held is not None and generation not in held:
                    return False
        return True

    def _shard_parts(self) -> list[Part]:
        return [_part(calls.replicas) for calls in self._retrieval]

    def _to_retrieval(
        self, own: _Own, common: Sequence[int]
    ) -> tuple[Catalogue, RetrievalAdapter | ShardedRetrievalAdapter]:
        """The generation, and who finds candidates in it.

        Args:
            own: What the gateway holds.
            common: Generations that the stages hold, at least one, the most wanted first.
        """
        number = common[0]
        asked: RetrievalAdapter | ShardedRetrievalAdapter
        if len(self._retrieval) > 1:
            asked = ShardedRetrievalAdapter(self._retrieval, own.by_number[number].generation, self._times)
        else:
            try:
                replica = self._retrieval[0].replicas.pick(holding=common)
            except NotReady:
                # It is asked again when it is needed, and by then somebody may be there.
                asked = RetrievalAdapter(self._retrieval[0], None, self._times)
            else:
                number = first_held(common, replica.held)
                asked = RetrievalAdapter(self._retrieval[0], replica, self._times)
        self._note_asked(number)
        return own.by_number[number], asked


class _Own(NamedTuple):
    """What the gateway holds.

    Args:
        catalogues: As the keeper gave them.
        wanted: Their generations, the most wanted first.
        by_number: Each by its generation.
    """

    catalogues: tuple[Catalogue, ...]
    wanted: tuple[int, ...]
    by_number: Mapping[int, Catalogue]


class _Absent(NamedTuple):
    """A stage that is not asked, because it is known not to hold what the others do; both stages' protocols."""

    stage: str
    why: str

    def retrieve(self, *_: Any, **__: Any) -> NoReturn:
        """Does not find candidates."""
        raise NoCommonGeneration(self.stage, self.why)

    def similar_items(self, *_: Any, **__: Any) -> NoReturn:
        """Does not find similar items."""
        raise NoCommonGeneration(self.stage, self.why)

    def rank(self, *_: Any, **__: Any) -> NoReturn:
        """Does not rank."""
        raise NoCommonGeneration(self.stage, self.why)


def _part(replicas: Replicas[Any]) -> Part:
    return [replica.held for replica in replicas.connections()]


def _without(own: _Own, stages: Mapping[str, Sequence[Part]]) -> str:
    """Who holds what, in words for a caller."""
    told = [f"the gateway holds {describe_held([frozenset(own.wanted)])}"]
    for stage, parts in stages.items():
        for index, part in enumerate(parts):
            name = stage if len(parts) == 1 else f"{stage} shard {index}"
            told.append(f"{name} {describe_held(part)}")
    return f"no generation in common: {', '.join(told)}"
