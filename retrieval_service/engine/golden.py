"""Questions and the answers that a generation gave when it was published; asked again before it may serve.

The file ``golden/retrieval.json`` of a bundle holds a list of objects with the fields of :class:`GoldenAnswer`; those
that have a default may be absent, as they are in older bundles.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import RetrievalQuery
from twostage.bundle.attributes import ValuesColumn
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.candidates.blend import blend
from twostage.candidates.source import Source
from twostage.errors import InvalidField
from twostage.features.history import History

GOLDEN_FILE = "golden/retrieval.json"
"""Where the answers are, relative to the generation."""

_LEADING = "user_vector"

_COMMON_SHARE = 0.8
"""Two indexes that each find nine tenths of what is nearest have at least so much in common."""

EPSILON = 1e-4
"""Candidates whose scores differ by no more than this may change places: processors round differently."""


@dataclass(frozen=True)
class GoldenAnswer:
    """A question and its answer.

    Args:
        history_rows: The history, oldest first; empty asks for what people get of whom nothing is known.
        count: How many candidates were asked for.
        rows: The candidates, best first.
        scores: Their scores.
        exclude_rows: Rows that may not be candidates.
        interest_tags: The tags asked for.
        any_of: The filter: attribute to values of which an item must have one.
        quotas: By a source's lower-case name.
    """

    history_rows: list[int]
    count: int
    rows: list[int]
    scores: list[float]
    exclude_rows: list[int] = field(default_factory=list)
    interest_tags: list[str] = field(default_factory=list)
    any_of: dict[str, list[str]] = field(default_factory=dict)
    quotas: dict[str, int] = field(default_factory=dict)


def golden_answers(
    engine: RetrievalEngine, histories: Iterable[Sequence[int] | NDArray[np.integer]], *, count: int = 100
) -> list[GoldenAnswer]:
    """Asks an engine for the candidates of histories, and then under conditions.

    With a user vector the leading source alone is asked, by a quota: where a list of another source is cut between
    two nearly equal keys, processors that round differently may cut differently, and no score would tell. The last
    history that is not empty is asked for again without its own items, and among the items that share the first value
    of its newest one; that value is also asked for as an interest tag.

    Args:
        engine: The engine.
        histories: Rows of one history each, oldest first; include an empty one.
        count: How many candidates to ask for.
    """
    asked = [[int(row) for row in rows] for rows in histories]
    questions = [_question(rows, count) for rows in asked]
    telling = [rows for rows in asked if rows]
    if telling:
        last = telling[-1]
        questions.append(_question(last, count, exclude_rows=sorted(set(last))))
        value = _first_value(engine, last[-1])
        if value is not None:
            questions.append(_question(last, count, any_of={value[0]: [value[1]]}))
            questions.append(_question([], count, interest_tags=[value[1]], leading_alone=True))
    return [_answered(engine, question) for question in questions]


def write_golden(folder: Path, answers: Sequence[GoldenAnswer]) -> None:
    """Writes answers into a generation's folder before it is published."""
    path = folder / GOLDEN_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(answer) for answer in answers]) + "\n", encoding="utf-8")


def renew_golden(engine: RetrievalEngine, generation: Generation, folder: Path) -> None:
    """Asks another engine what a generation was asked, and writes its answers into a folder.

    Args:
        engine: The engine whose answers are written.
        generation: Where the questions come from; nothing is written when it has none.
        folder: The folder of the generation that is being written.

    Raises:
        BundleCorrupt: The questions cannot be read.
    """
    if GOLDEN_FILE in generation.manifest.files:
        questions = _read(generation.path / GOLDEN_FILE)
        write_golden(folder, [_answered(engine, question) for question in questions])


def check_golden(engine: RetrievalEngine, generation: Generation, *, other_index: bool = False) -> int | None:
    """Asks an engine what the generation was asked when it was published.

    Args:
        engine: The engine.
        generation: What it serves.
        other_index: True for an engine that searches another index than the bundle's: it may miss other rows, so
            candidates found by both must have the same scores, and most must be found by both.

    Returns:
        How many answers were compared, or None when the manifest lists no such file.

    Raises:
        BundleCorrupt: An answer differs by more than :data:`EPSILON`, or the file is no such list.
    """
    if GOLDEN_FILE not in generation.manifest.files:
        return None
    path = generation.path / GOLDEN_FILE
    answers = _read(path)
    for number, expected in enumerate(answers):
        if any(not 0 <= row < engine.item_count for row in expected.history_rows + expected.exclude_rows):
            raise BundleCorrupt(path, f"rows below {engine.item_count} in answer {number}", "one beyond")
        try:
            difference = _difference_to(engine, expected, other_index=other_index)
        except (InvalidField, KeyError, AttributeError, TypeError, ValueError) as error:
            raise BundleCorrupt(path, f"a question that can be asked in answer {number}", str(error)) from error
        if difference is not None:
            raise BundleCorrupt(path, f"answer {number} with {difference[0]}", difference[1])
    return len(answers)


def _read(path: Path) -> list[GoldenAnswer]:
    try:
        return [GoldenAnswer(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        raise BundleCorrupt(path, "golden answers", "no file") from None
    except (ValueError, TypeError) as error:
        raise BundleCorrupt(path, "a list of golden answers", str(error)) from error


def _question(
    history_rows: list[int],
    count: int,
    *,
    exclude_rows: list[int] | None = None,
    interest_tags: list[str] | None = None,
    any_of: dict[str, list[str]] | None = None,
    leading_alone: bool = False,
) -> GoldenAnswer:
    quotas = {_LEADING: count} if history_rows or leading_alone else {}
    return GoldenAnswer(history_rows, count, [], [], exclude_rows or [], interest_tags or [], any_of or {}, quotas)


def _first_value(engine: RetrievalEngine, row: int) -> tuple[str, str] | None:
    """The first value that an item has of any attribute, with the attribute's name; None when it has none."""
    attributes = engine.catalogue.attributes
    for name in attributes.names:
        column = attributes.column(name)
        if isinstance(column, ValuesColumn):
            for value in column.values_of(row):
                return name, value
    return None


def _query_of(question: GoldenAnswer) -> RetrievalQuery:
    return RetrievalQuery(
        History.of_rows(np.array(question.history_rows, np.uint32)),
        question.count,
        exclude_rows=np.array(question.exclude_rows, np.uint32),
        filter=Filter(tuple(Condition(name, any_of=tuple(values)) for name, values in question.any_of.items())),
        interest_tags=tuple(question.interest_tags),
        quotas={Source[name.upper()]: quota for name, quota in question.quotas.items()},
    )


def _answered(engine: RetrievalEngine, question: GoldenAnswer) -> GoldenAnswer:
    """The question with the engine's answer."""
    candidates = engine.retrieve(_query_of(question))
    return replace(question, rows=candidates.rows.tolist(), scores=candidates.scores.tolist())


def _difference_to(engine: RetrievalEngine, expected: GoldenAnswer, *, other_index: bool) -> tuple[str, str] | None:
    """As :func:`_difference`, between what is expected and what the engine answers."""
    if other_index:
        return _great_difference(expected, _answered(engine, expected))
    if engine.shard.count == 1:
        return _difference(expected, _answered(engine, expected))
    gathered = engine.gather(_query_of(expected))
    if all(entry.keys is None for entry in gathered.lists):
        # No source searched, so a shard knows the whole answer.
        blended = blend(
            gathered.lists, expected.count, item_count=gathered.item_count, allowed_count=gathered.allowed_count
        )
        return _difference(expected, replace(expected, rows=blended.rows.tolist(), scores=blended.scores.tolist()))
    # A shard has a part of the rows, and more of them than reach the answer: those that do must have their scores.
    scores = dict(zip(expected.rows, expected.scores, strict=True))
    for entry in gathered.lists:
        for row, score in zip(entry.rows.tolist(), entry.scores.tolist(), strict=True):
            if abs(scores.get(row, score) - score) > EPSILON:
                return f"row {row} of score {scores[row]:.5f}", f"{score:.5f}"
    return None


def _great_difference(expected: GoldenAnswer, received: GoldenAnswer) -> tuple[str, str] | None:
    """What sets two indexes' answers further apart than what each may miss, or None."""
    if len(expected.rows) != len(received.rows) or not any(expected.scores):
        return _difference(expected, received)
    scores = dict(zip(expected.rows, expected.scores, strict=True))
    common = [(row, score) for row, score in zip(received.rows, received.scores, strict=True) if row in scores]
    for row, score in common:
        if abs(scores[row] - score) > EPSILON:
            return f"row {row} of score {scores[row]:.5f}", f"{score:.5f}"
    if len(common) < _COMMON_SHARE * len(expected.rows):
        return f"{_COMMON_SHARE:.0%} of {len(expected.rows)} candidates", f"{len(common)}"
    return None


def _difference(expected: GoldenAnswer, received: GoldenAnswer) -> tuple[str, str] | None:
    """What was expected and what came where they first differ, or None when they agree."""
    if len(expected.rows) != len(received.rows):
        return f"{len(expected.rows)} candidates", f"{len(received.rows)}"
    if not any(expected.scores):
        # Without a vector all is counted, nothing computed: nothing may differ.
        return None if expected.rows == received.rows else ("the same rows in the same order", "others")
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
