"""Ranking: gather features ▸ score ▸ blend ▸ select ▸ explain ▸ describe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ranking_service.engine.blend import blend_scores, blend_weights
from ranking_service.engine.explainer import Explainer
from ranking_service.engine.explanations import Explanation
from ranking_service.engine.features import FeatureGatherer
from ranking_service.engine.query import RankedItems, RankingQuery, SelectionPolicy, Shortfall, ShortfallReason
from ranking_service.engine.row_inputs import RowInputs
from ranking_service.engine.scorer import Scorer, checked_answer
from ranking_service.engine.selection import CapRule, descending, first_occurrences, select
from twostage.bundle.attributes import ValuesColumn
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.generation import Generation
from twostage.bundle.manifest import RankerEntry
from twostage.errors import DeadlineSpent, InvalidField
from twostage.features.context import Context
from twostage.features.history import History


@dataclass(frozen=True)
class Ranker:
    """One ranker of a generation, ready to be fed.

    Args:
        name: Its name in the bundle.
        entry: What the manifest says of it.
        gatherer: Builds its inputs by value.
        weights: float64[A], its own blend, normalised.
        row_inputs: Builds its inputs by row; None when its model does not hold the items' features.
    """

    name: str
    entry: RankerEntry
    gatherer: FeatureGatherer
    weights: NDArray[np.float64]
    row_inputs: RowInputs | None = None

    @classmethod
    def open(cls, generation: Generation, name: str) -> Self:
        """Maps the tables of a ranker.

        Raises:
            BundleCorrupt: A table or the manifest's entry cannot be used.
        """
        entry = generation.manifest.rankers[name]
        try:
            weights = blend_weights(entry.actions, entry.blend, f"rankers.{name}.blend")
        except InvalidField as error:
            raise BundleCorrupt(generation.path, f"a usable ranker {name}", error.message) from error
        try:
            row_inputs = None if entry.by_row is None else RowInputs(entry.by_row.inputs)
        except ValueError as error:
            raise BundleCorrupt(generation.path, f"a usable ranker {name}", str(error)) from error
        return cls(name, entry, FeatureGatherer.open(generation, entry), weights, row_inputs)

    def gather(
        self,
        history: History,
        context: Context,
        rows: NDArray[np.uint32],
        retrieval_scores: NDArray[np.float32],
        *,
        by_value: bool = False,
    ) -> dict[str, NDArray[Any]]:
        """Builds the inputs for one request, as small as its model allows.

        Args:
            history: Oldest first, any length; the newest 50 entries are used.
            context: Where and when.
            rows: uint32[N], each below the number of items; not checked here.
            retrieval_scores: float32[N].
            by_value: True builds features also where rows would do; False by default.

        Returns:
            Arrays by name; see twostage.features.model_inputs.
        """
        if self.row_inputs is None or by_value:
            return self.gatherer.gather(history, context, rows, retrieval_scores)
        return self.row_inputs.gather(history, context, rows, retrieval_scores)


class RankingEngine:
    """Ranks candidates of one generation; safe to use from many threads. Make one with :meth:`open`.

    Args:
        generation: The opened generation.
        rankers: Its rankers by name.
        item_vectors: [items, D] of the default tower, L2-normalised.
    """

    def __init__(self, generation: Generation, rankers: dict[str, Ranker], item_vectors: NDArray[Any]) -> None:
        self.generation = generation
        self.rankers = rankers
        self._item_vectors = item_vectors
        self._has_times = generation.manifest.source.has_times
        self._recorded = tuple(generation.manifest.recorded_actions)
        self._codes = {name: code for code, name in enumerate(self._recorded, start=1)}
        # Mapped now: the first request pays for no opening, and a damaged file is found before anybody asks.
        self._ids = generation.ids
        self._titles = generation.titles
        self._attributes = generation.attributes
        self._explainer = Explainer(generation, item_vectors)

    @classmethod
    def open(cls, generation: Generation) -> Self:
        """Maps what ranking reads of a generation.

        Raises:
            BundleError: A file is absent or does not fit the manifest.
        """
        manifest = generation.manifest
        if manifest.default_ranker not in manifest.rankers:
            found = f"none among {', '.join(manifest.rankers)}"
            raise BundleCorrupt(generation.path, f"the default ranker {manifest.default_ranker}", found)
        rankers = {name: Ranker.open(generation, name) for name in manifest.rankers}
        tower = manifest.tower
        vectors = generation.array(tower.item_vectors, shape=(generation.item_count, tower.dimension))
        return cls(generation, rankers, vectors)

    @property
    def number(self) -> int:
        """The generation's number, which is the models' version too."""
        return self.generation.number

    @property
    def item_count(self) -> int:
        """How many items it has."""
        return self.generation.item_count

    def ranker(self, name: str = "") -> Ranker:
        """A ranker by name, the default one when empty.

        Raises:
            InvalidField: There is no such ranker.
        """
        found = self.rankers.get(name or self.generation.manifest.default_ranker)
        if found is None:
            raise InvalidField("ranker", f"one of {', '.join(self.rankers)}", name)
        return found

    @property
    def action_codes(self) -> Mapping[str, int]:
        """The codes of recorded actions in histories: 1 + the position in the manifest; 0 stands for unknown ones."""
        return self._codes

    def rows_of(self, item_ids: list[str]) -> NDArray[np.int64]:
        """int64[len(item_ids)], the rows of items, -1 where unknown."""
        return self._ids.rows(item_ids)

    def rank(self, query: RankingQuery, scorer: Scorer, timeout_seconds: float) -> RankedItems:
        """Ranks.

        Args:
            query: What is asked.
            scorer: Who scores.
            timeout_seconds: How long it may take until the scores are there, above 0; what follows takes a fraction
                of a millisecond. Explanations get what is left of it, and do without the ranker when nothing is.

        Returns:
            Exactly ``query.count`` items, or fewer and a shortfall. Scores descend unless the selection policy says
            otherwise; ties stand in the candidates' order.

        Raises:
            InvalidField: The ranker, a row, an action or an attribute is unknown, or no weight is above 0.
            DeadlineSpent: The time was over before the scorer was asked.
            TwostageError: The scorer cannot answer now.
            RankingError: The model does not do what the bundle says.
        """
        start = perf_counter()
        ranker = self.ranker(query.ranker)
        actions = tuple(ranker.entry.actions)
        weights = blend_weights(actions, query.blend) if query.blend else ranker.weights
        caps = self._cap_rules(query.selection)
        for position, name in enumerate(query.attributes):
            self._attributes.column(name, f"attributes[{position}]")
        self._check_rows("candidates.rows", query.candidate_rows)
        self._check_rows("history.rows", query.history.rows)
        for position, row in enumerate(query.selection.pinned_rows):
            if row >= self.item_count:
                raise self._no_such_row(f"selection.pinned_rows[{position}]", row)
        kept = first_occurrences(query.candidate_rows)
        rows = query.candidate_rows if kept is None else query.candidate_rows[kept]
        retrieval_scores = query.retrieval_scores if kept is None else query.retrieval_scores[kept]
        asked = scored = perf_counter()
        model = ranker.entry.model
        context = self._as_trained(query.context)
        if len(rows):
            inputs = ranker.gather(query.history, context, rows, retrieval_scores, by_value=query.by_value)
            asked = perf_counter()
            left = timeout_seconds - (asked - start)
            if left <= 0:
                raise DeadlineSpent("before the model server was asked")
            answer = scorer.score(model, self.number, inputs, left)
            scored = perf_counter()
            action_scores = checked_answer(answer, model, self.number, len(rows), len(actions))
        else:
            # Nothing to score is no reason to ask anybody.
            action_scores = np.zeros((0, len(actions)), np.float32)
        scores = blend_scores(action_scores, weights)
        blended = perf_counter()
        order = descending(scores)
        strength = query.selection.strength
        chosen = select(
            rows,
            scores,
            order,
            query.count,
            strength=strength,
            vectors=self._vectors(rows) if strength > 0 else None,
            caps=caps,
            pinned_rows=query.selection.pinned_rows,
        )
        timings_ms = {
            "gather": 1e3 * (asked - start),
            "model_server": 1e3 * (scored - asked),
            "blend": 1e3 * (blended - scored),
            "select": 1e3 * ((selected := perf_counter()) - blended),
        }
        ranked_rows = rows[chosen]
        explanations: Sequence[Sequence[Explanation]] = ()
        effects_missing = ""
        if query.explain:
            effects, effects_missing = self._explainer.effects(
                scorer,
                model,
                lambda asked: ranker.gather(
                    query.history, context, rows[asked], retrieval_scores[asked], by_value=True
                ),
                chosen,
                action_scores[chosen],
                weights,
                history_count=len(query.history),
                timeout_seconds=timeout_seconds - (selected - start),
            )
            explanations = self._explainer.explain(query, ranked_rows, effects)
            timings_ms["explain"] = 1e3 * (-selected + (selected := perf_counter()))
        row_list: list[int] = ranked_rows.tolist()
        return RankedItems(
            ranker=ranker.name,
            actions=actions,
            rows=ranked_rows,
            scores=scores[chosen],
            action_scores=action_scores[chosen],
            candidate_indices=np.asarray(chosen if kept is None else kept[chosen], np.int64),
            ranking_ranks=_ranks(order)[chosen] if query.trace else None,
            item_ids=self._ids.ids(ranked_rows),
            titles=self._titles.take(ranked_rows),
            attributes=(
                [self._attributes.describe(row, query.attributes) for row in row_list] if query.attributes else ()
            ),
            explanations=explanations,
            effects_missing=effects_missing,
            shortfall=_shortfall(query.count, len(chosen), len(rows)),
            # Arguments are evaluated in order, so this sees what the lines above cost.
            timings_ms={**timings_ms, "describe": 1e3 * (perf_counter() - selected)},
        )

    def _as_trained(self, context: Context) -> Context:
        """The context without its time where the models never saw one; the ages in a history are 0 then as well."""
        return context if self._has_times or not context.time_seconds else replace(context, time_seconds=0)

    def _check_rows(self, field: str, rows: NDArray[np.uint32]) -> None:
        if len(rows) and int(rows.max()) >= self.item_count:
            position = int(np.argmax(rows >= self.item_count))
            raise self._no_such_row(f"{field}[{position}]", int(rows[position]))

    def _no_such_row(self, field: str, row: int) -> InvalidField:
        return InvalidField(field, f"a row of generation {self.number}, 0 to {self.item_count - 1}", row)

    def _cap_rules(self, policy: SelectionPolicy) -> list[CapRule]:
        rules = []
        for position, cap in enumerate(policy.caps):
            field = f"selection.diversity.caps[{position}].attribute"
            column = self._attributes.column(cap.attribute, field)
            if not isinstance(column, ValuesColumn):
                raise InvalidField(field, "an attribute with values", f"{cap.attribute}, which is a number")
            rules.append(CapRule(partial(_codes, column), cap.max_count))
        return rules

    def _vectors(self, rows: NDArray[np.uint32]) -> NDArray[np.float32]:
        return np.asarray(self._item_vectors[rows], np.float32)


def _codes(column: ValuesColumn, row: int) -> list[int]:
    codes: list[int] = column.codes_of(row).tolist()
    return codes


def _ranks(order: NDArray[np.intp]) -> NDArray[np.int64]:
    """1 for the position that stands first in the order, and so on."""
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks


def _shortfall(wanted: int, selected: int, available: int) -> Shortfall | None:
    if selected == wanted:
        return None
    reason = ShortfallReason.TOO_FEW_CANDIDATES if available < wanted else ShortfallReason.SELECTION_POLICY
    return Shortfall(wanted - selected, reason)
