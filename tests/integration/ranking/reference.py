"""What the tiny ranker answers, computed in NumPy, and golden rankings made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ranking_service.engine.golden import GOLDEN_PATH, GoldenAnswer, write_golden
from tests.bundles import make_catalogue
from twostage.bundle.checksums import sum_file
from twostage.bundle.manifest import read_manifest, write_manifest

ITEM_COUNT = 200
WEIGHTS = np.array([0.5, 1.0, 0.25])


def reference(
    history: list[int], rows: list[int], scores: list[float], seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The tiny ranker of tests/tiny_models.py and the blend of tests/bundles.py in NumPy: [N, 3] and [N]."""
    catalogue = make_catalogue(item_count=ITEM_COUNT, seed=seed)
    half = catalogue.vectors.astype(np.float16).astype(np.float64)
    popularity = (catalogue.popularity / catalogue.popularity.max()).astype(np.float16).astype(np.float64)
    user = half[history].sum(axis=0) / max(len(history), 1)
    logits = (
        (half[rows] @ user)[:, np.newaxis] * [2.0, 4.0, 1.0]
        + np.array(scores)[:, np.newaxis] * [0.5, 1.0, 3.0]
        + popularity[rows][:, np.newaxis]
        + [-0.5, -1.5, -2.5]
    )
    probabilities = 1 / (1 + np.exp(-logits))
    return probabilities, probabilities @ WEIGHTS / WEIGHTS.sum()


def add_golden(path: Path, offset: float = 0.0, seed: int = 0) -> None:
    """Publishes golden rankings computed without the code under test."""
    history, rows = [3, 4, 5], list(range(20, 60))
    scores = np.linspace(0.9, -0.3, len(rows)).round(3).tolist()
    _, blended = reference(history, rows, scores, seed)
    order = np.argsort(-blended, kind="stable")
    answer = GoldenAnswer(
        history_rows=history,
        candidate_rows=rows,
        retrieval_scores=scores,
        rows=[rows[position] for position in order],
        scores=(blended[order] + offset).tolist(),
    )
    manifest = read_manifest(path)
    files = {**manifest.files, GOLDEN_PATH: sum_file(write_golden(path, [answer]))}
    write_manifest(path, manifest.model_copy(update={"files": files}))
