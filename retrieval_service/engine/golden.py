"""Questions and the answers that a generation gave when it was published; asked again before it may serve.

The file ``golden/retrieval.json`` of a bundle holds a list of objects: ``history_rows``, ``count``, ``rows``,
``scores``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import RetrievalQuery
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.generation import Generation
from twostage.features.history import History

GOLDEN_FILE = "golden/retrieval.json"
"""Where the answers are, relative to the generation."""

EPSILON = 1e-4
"""Candidates whose scores differ by no more than this may change places: processors round differently."""


@dataclass(frozen=True)
class GoldenAnswer:
    """A question and its answer.

    Args:
        history_rows: The history, oldest first; empty asks for popular items.
        count: How many candidates were asked for.
        rows: The candidates, best first.
        scores: Their scores.
    """

    history_rows: list[int]
    count: int
    rows: list[int]
    scores: list[float]


def golden_answers(
    engine: RetrievalEngine, histories: Iterable[Sequence[int] | NDArray[np.integer]], *, count: int = 100
) -> list[GoldenAnswer]:
    """Asks an engine.

    Args:
        engine: The engine.
        histories: Rows of one history each, oldest first; include an empty one.
        count: How many candidates to ask for.
    """
    return [_ask(engine, [int(row) for row in rows], count) for rows in histories]


def write_golden(folder: Path, answers: Sequence[GoldenAnswer]) -> None:
    """Writes answers into a generation's folder before it is published."""
    path = folder / GOLDEN_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(answer) for answer in answers]) + "\n", encoding="utf-8")


def check_golden(engine: RetrievalEngine, generation: Generation) -> int | None:
    """Asks an engine what the generation was asked when it was published.

    Returns:
        How many answers were compared, or None when the manifest lists no such file.

    Raises:
        BundleCorrupt: An answer differs by more than :data:`EPSILON`, or the file is no such list.
    """
    if GOLDEN_FILE not in generation.manifest.files:
        return None
    path = generation.path / GOLDEN_FILE
    try:
        answers = [GoldenAnswer(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        raise BundleCorrupt(path, "golden answers", "no file") from None
    except (ValueError, TypeError) as error:
        raise BundleCorrupt(path, "a list of golden answers", str(error)) from error
    for number, expected in enumerate(answers):
        if any(not 0 <= row < engine.item_count for row in expected.history_rows):
            raise BundleCorrupt(path, f"rows below {engine.item_count} in answer {number}", "one beyond")
        received = _ask(engine, expected.history_rows, expected.count)
        difference = _difference(expected, received)
        if difference is not None:
            raise BundleCorrupt(path, f"answer {number} with {difference[0]}", difference[1])
    return len(answers)


def _ask(engine: RetrievalEngine, history_rows: list[int], count: int) -> GoldenAnswer:
    history = History.of_rows(np.array(history_rows, np.uint32))
    candidates = engine.retrieve(RetrievalQuery(history, count))
    return GoldenAnswer(history_rows, count, candidates.rows.tolist(), candidates.scores.tolist())


def _difference(expected: GoldenAnswer, received: GoldenAnswer) -> tuple[str, str] | None:
    """What was expected and what came where they first differ, or None when they agree."""
    if len(expected.rows) != len(received.rows):
        return f"{len(expected.rows)} candidates", f"{len(received.rows)}"
    if not expected.history_rows:
        # Popularity is counted, not computed: nothing may differ.
        return None if expected.rows == received.rows else ("the same popular rows", "others")
    # A row that was not expected at all can only have been just below the last.
    expected_scores = dict(zip(expected.rows, expected.scores, strict=True))
    for place, (row, score) in enumerate(zip(received.rows, received.scores, strict=True)):
        wanted = expected.scores[place]
        own = expected_scores.get(row, expected.scores[-1])
        if abs(score - wanted) > EPSILON or abs(own - score) > EPSILON:
            return (
                f"row {expected.rows[place]} of score {wanted:.5f} at place {place}",
                f"row {row} of score {score:.5f}",
            )
    return None
