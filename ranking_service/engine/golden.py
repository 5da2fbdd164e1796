"""Golden questions: what a generation answered when it was published, asked again before it may serve.

``golden/ranking.json`` holds ``{"score_tolerance", "order_epsilon", "answers": [...]}``, each answer with its
question. Processors differ in the last bits, so scores are compared within the tolerance, and the order must be the
published one except between items whose published scores are closer than the epsilon. Neither is ever more than a small
part of the score itself, for probabilities of rare actions are themselves smaller than either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.errors import GoldenMismatch
from ranking_service.engine.query import RankedItems, RankingQuery
from ranking_service.engine.scorer import Scorer
from twostage.bundle.errors import BundleCorrupt
from twostage.features.context import Context
from twostage.features.history import History

GOLDEN_PATH = "golden/ranking.json"
"""Where the answers are, relative to the generation."""

SCORE_TOLERANCE = 1e-3
"""How far a score may be from the published one."""

ORDER_EPSILON = 1e-4
"""Items with published scores closer than this may change places."""

SCORE_SHARE = 1e-2
"""How far a score may be from the published one at most, as a part of that."""

ORDER_SHARE = 1e-3
"""How much better than another the published score of an item that may stand behind it is at most, as a part of it."""

_LEAST_OFF = 1e-8
# Of a ranker that is asked by rows: by features the same model must say the same.
_BY_VALUE_COUNT = 2

_Row = Annotated[int, Field(ge=0, le=2**32 - 1)]
_Score = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class GoldenQuestion:
    """What is asked.

    Args:
        history_rows: The history, oldest first; may be empty.
        candidate_rows: Distinct candidates, at least one.
        retrieval_scores: One for each candidate.
        ranker: A ranker of the bundle, its default when empty.
        blend: Weights by action, the ranker's own when empty.
    """

    history_rows: tuple[int, ...]
    candidate_rows: tuple[int, ...]
    retrieval_scores: tuple[float, ...]
    ranker: str = ""
    blend: Mapping[str, float] = field(default_factory=dict)


class GoldenAnswer(BaseModel):
    """A question with its answer, as it stands in the file.

    ``rows`` are all candidates, best first, by the question's blend; ``scores`` belong to them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ranker: str = ""
    blend: dict[str, _Score] = Field(default_factory=dict)
    history_rows: list[_Row]
    candidate_rows: list[_Row] = Field(min_length=1)
    retrieval_scores: list[_Score]
    rows: list[_Row]
    scores: list[_Score]

    @model_validator(mode="after")
    def _columns_fit(self) -> GoldenAnswer:
        sizes = {len(self.candidate_rows), len(self.retrieval_scores), len(self.rows), len(self.scores)}
        if len(sizes) != 1:
            raise ValueError("expected candidate_rows, retrieval_scores, rows and scores of one length")
        if sorted(set(self.candidate_rows)) != sorted(self.rows):
            raise ValueError("expected rows to be the candidates, each once")
        return self

    @property
    def question(self) -> GoldenQuestion:
        """What was asked."""
        return GoldenQuestion(
            tuple(self.history_rows), tuple(self.candidate_rows), tuple(self.retrieval_scores), self.ranker, self.blend
        )


class GoldenFile(BaseModel):
    """All of ``golden/ranking.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score_tolerance: float = Field(default=SCORE_TOLERANCE, gt=0, le=0.1)
    order_epsilon: float = Field(default=ORDER_EPSILON, ge=0, le=0.1)
    answers: list[GoldenAnswer] = Field(min_length=1)


def golden_answers(
    engine: RankingEngine, scorer: Scorer, questions: Sequence[GoldenQuestion], timeout_seconds: float = 10.0
) -> list[GoldenAnswer]:
    """Answers questions, to be published with a generation.

    Args:
        engine: The engine over the generation's files; a manifest written ahead of publishing suffices.
        scorer: The very model that is published, e.g. the exported SavedModel in process.
        questions: At least one.
        timeout_seconds: For each question.

    Raises:
        TwostageError, RankingError: As RankingEngine.rank.
    """
    answers = []
    for question in questions:
        ranked = _ask(engine, scorer, question, timeout_seconds)
        answers.append(
            GoldenAnswer(
                ranker=question.ranker,
                blend=dict(question.blend),
                history_rows=list(question.history_rows),
                candidate_rows=list(question.candidate_rows),
                retrieval_scores=list(question.retrieval_scores),
                rows=ranked.rows.tolist(),
                scores=ranked.scores.tolist(),
            )
        )
    return answers


def write_golden(generation_path: Path, answers: Sequence[GoldenAnswer]) -> Path:
    """Writes the answers below a generation's folder and returns the file."""
    path = generation_path / GOLDEN_PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GoldenFile(answers=list(answers)).model_dump_json() + "\n", encoding="utf-8")
    return path


def read_golden(generation_path: Path) -> GoldenFile | None:
    """Reads the answers of a generation; None when it was published without.

    Raises:
        BundleCorrupt: The file is not as this module writes it.
    """
    path = generation_path / GOLDEN_PATH
    try:
        return GoldenFile.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleCorrupt(path, f"{where}: {first['msg']}", repr(first["input"])[:80]) from error
    except ValueError as error:
        raise BundleCorrupt(path, "JSON", str(error)) from error


def check_golden(engine: RankingEngine, scorer: Scorer, timeout_seconds: float = 10.0) -> int:
    """Asks the golden questions again.

    Args:
        engine: The generation that is to serve.
        scorer: The model server that is to score.
        timeout_seconds: For each question.

    Returns:
        How many answers were right; 0 when the generation was published without any.

    Raises:
        GoldenMismatch: An answer is another than the published one.
        BundleCorrupt: The file cannot be read.
        TwostageError, RankingError: As RankingEngine.rank.
    """
    golden = read_golden(engine.generation.path)
    if golden is None:
        return 0
    by_value_count: dict[str, int] = {}
    for number, answer in enumerate(golden.answers, start=1):
        ranker = f", ranker {answer.ranker}" if answer.ranker else ""
        where = f"golden ranking {number} of {len(golden.answers)}{ranker}, generation {engine.number}"
        _compare(where, answer, _ask(engine, scorer, answer.question, timeout_seconds), golden)
        counted = by_value_count.get(answer.ranker, 0)
        if counted < _BY_VALUE_COUNT and engine.ranker(answer.ranker).row_inputs is not None:
            ranked = _ask(engine, scorer, answer.question, timeout_seconds, by_value=True)
            _compare(f"{where}, by value", answer, ranked, golden)
            by_value_count[answer.ranker] = counted + 1
    return len(golden.answers)


def _ask(
    engine: RankingEngine, scorer: Scorer, question: GoldenQuestion, timeout_seconds: float, *, by_value: bool = False
) -> RankedItems:
    query = RankingQuery(
        history=History.of_rows(np.array(question.history_rows, np.uint32)),
        context=Context(),
        candidate_rows=np.array(question.candidate_rows, np.uint32),
        retrieval_scores=np.array(question.retrieval_scores, np.float32),
        count=len(question.candidate_rows),
        ranker=question.ranker,
        blend=question.blend,
        by_value=by_value,
    )
    return engine.rank(query, scorer, timeout_seconds)


def _compare(where: str, answer: GoldenAnswer, ranked: RankedItems, golden: GoldenFile) -> None:
    expected = dict(zip(answer.rows, answer.scores, strict=True))
    rows: list[int] = ranked.rows.tolist()
    in_new_order: NDArray[np.float64] = np.array([expected[row] for row in rows], np.float64)
    allowed = np.minimum(golden.score_tolerance, np.maximum(SCORE_SHARE * in_new_order, _LEAST_OFF))
    beyond = np.abs(ranked.scores - in_new_order) - allowed
    worst = int(np.argmax(beyond))
    if beyond[worst] > 0:
        raise GoldenMismatch(
            f"{where}: expected score {in_new_order[worst]:.6g} for row {rows[worst]} within {allowed[worst]:.1g}"
            f", received {ranked.scores[worst]:.6g}"
        )
    # How much better than one that stands before it an item was when published.
    ahead = in_new_order - np.minimum.accumulate(in_new_order)
    beyond = ahead - np.minimum(golden.order_epsilon, np.maximum(ORDER_SHARE * in_new_order, _LEAST_OFF))
    worst = int(np.argmax(beyond))
    if beyond[worst] > 0:
        raise GoldenMismatch(
            f"{where}: expected row {rows[worst]} before items of scores lower by {ahead[worst]:.6g}, "
            "received it behind them"
        )
