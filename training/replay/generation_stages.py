"""Both stages of one generation, asked as the services ask their engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gateway.engine.fewer import ranked_positions
from gateway.engine.full_answers import asked_of_ranking
from gateway.engine.overrides import override
from gateway.engine.plan import Rival
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Shortfall, ShortfallReason
from gateway.engine.stages import Ranked, RankedItem
from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.query import RankedItems, RankingQuery, SelectionPolicy
from ranking_service.engine.scorer import Scorer
from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import RetrievalQuery
from training.replay.logged_question import LoggedQuestion
from training.replay.row_candidates import RowCandidates
from twostage.bundle.generation import Generation
from twostage.errors import InvalidField
from twostage.features.history import History

# Nobody waits.
_TIMEOUT_SECONDS = 600.0


class GenerationStages:
    """The stages of one generation in this process.

    Args:
        generation: Opened.
        retrieval: The first stage.
        ranking: The second stage.
        scorer: Runs its rankers.
    """

    def __init__(
        self, generation: Generation, retrieval: RetrievalEngine, ranking: RankingEngine, scorer: Scorer
    ) -> None:
        self.generation = generation
        self._retrieval = retrieval
        self._ranking = ranking
        self._scorer = scorer

    @classmethod
    def open(cls, generation: Generation, store_path: Path) -> Self:
        """Opens the engines of a published generation, and its rankers as SavedModels.

        Args:
            generation: Opened.
            store_path: The store's local folder.

        Raises:
            BundleError: A file is absent or not what the manifest says.
        """
        scorer = _LateScorer(generation, store_path)
        return cls(generation, RetrievalEngine.open(generation), RankingEngine.open(generation), scorer)

    def retrieve(self, question: LoggedQuestion) -> tuple[RowCandidates, Shortfall | None]:
        """Finds the candidates of a question, and why there are not more.

        Raises:
            InvalidField: The filter does not fit the generation.
        """
        request = question.request
        found = self._retrieval.retrieve(
            RetrievalQuery(
                # As the service reads it: the user tower looks at items alone.
                history=History.of_rows(np.array(question.person.history.rows, np.uint32)),
                count=question.plan.candidate_count,
                exclude_rows=np.array(question.person.excluded_rows, np.uint32),
                filter=request.filter,
                interest_tags=tuple(request.interest_tags),
                quotas=question.quotas,
                include_rows=np.array(question.pins, np.uint32),
                return_source_ranks=request.trace,
                return_history_weights=request.explain,
            )
        )
        shortfall = found.shortfall
        return (
            RowCandidates(found.rows, found.scores, found.sources, found.source_ranks),
            None if shortfall is None else Shortfall(shortfall.missing_count, ShortfallReason[shortfall.reason.name]),
        )

    def rank(
        self, question: LoggedQuestion, candidates: RowCandidates, *, ranked_count: int, rival_count: int
    ) -> list[Ranked]:
        """Ranks the candidates of a question as its plan says.

        Args:
            question: The question.
            candidates: Its candidates.
            ranked_count: How many of them were ranked; 0 for all.
            rival_count: How many rankings are made, of the plan's rivals in their order; 0 for one without rivals.

        Raises:
            InvalidField: The ranker, the blend or a cap does not fit the generation.
            RankingError: A model does not do what the bundle says.
        """
        positions = None
        if 0 < ranked_count < len(candidates):
            positions = ranked_positions(
                question.request, self.generation, candidates.rows(), ranked_count, question.pins
            )
            candidates = candidates.take(positions)
        manifest = self.generation.manifest
        rankings = []
        rivals: Sequence[Rival | None] = question.plan.rivals[:rival_count] or [None]
        for rival in rivals:
            request = question.request
            if rival is not None:
                request, _ = override(question.asked, rival.overrides, manifest)
            try:
                found = self._rank(question, request, candidates)
            except InvalidField:
                # As the gateway does: what only an experiment asks for is left out.
                found = self._rank(question, question.asked, candidates)
            rankings.append(_ranked(found, positions))
        return rankings

    def _rank(self, question: LoggedQuestion, request: RecommendRequest, candidates: RowCandidates) -> RankedItems:
        query = RankingQuery(
            history=question.history(self._ranking.action_codes),
            context=request.context,
            candidate_rows=candidates.rows(),
            retrieval_scores=candidates.scores(),
            count=max(asked_of_ranking(question.request, question.plan), 1),
            ranker=request.ranker,
            # As they travel: in 32 bits.
            blend={action: float(np.float32(weight)) for action, weight in request.blend.items()},
            selection=SelectionPolicy(
                float(np.float32(request.diversity.strength)), request.diversity.caps, question.pins
            ),
            trace=request.trace,
        )
        return self._ranking.rank(query, self._scorer, _TIMEOUT_SECONDS)


class _LateScorer:
    """Runs a generation's SavedModels; TensorFlow, which takes seconds to load, is loaded with the first question."""

    def __init__(self, generation: Generation, store_path: Path) -> None:
        self._generation = generation
        self._store_path = store_path
        self._scorer: Scorer | None = None

    def score(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any]:
        """Scores candidates; see the protocol."""
        if self._scorer is None:
            from training.saved_model_scorer import saved_model_scorer  # noqa: PLC0415

            number = self._generation.number
            self._scorer = saved_model_scorer(self._store_path, number, self._generation.manifest.rankers)
        return self._scorer.score(model, version, inputs, timeout_seconds)


def _ranked(found: RankedItems, positions: Sequence[int] | None) -> Ranked:
    """A ranking as the gateway reads it, its candidates by their place among all.

    Args:
        found: As the engine gave it.
        positions: Of the candidates that were ranked among all; None when all were.
    """
    ranks = found.ranking_ranks.tolist() if found.ranking_ranks is not None else [0] * len(found)
    items = [
        RankedItem(
            item_id=item_id,
            score=score,
            candidate_index=index,
            title=title,
            action_scores=dict(zip(found.actions, by_action, strict=True)),
            attributes={},
            ranking_rank=rank,
            reasons=(),
        )
        for item_id, score, index, title, by_action, rank in zip(
            found.item_ids,
            found.scores.tolist(),
            found.candidate_indices.tolist(),
            found.titles,
            found.action_scores.tolist(),
            ranks,
            strict=True,
        )
    ]
    ranked = Ranked(items, (), found.ranker)
    if positions is None:
        return ranked
    placed = [item._replace(candidate_index=positions[item.candidate_index]) for item in items]
    return replace(ranked, items=placed, candidate_count=len(positions))
