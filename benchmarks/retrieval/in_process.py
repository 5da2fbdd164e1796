"""What a retrieval server does for a request, step by step without a server: ``benchmarks.retrieval.in_process``.

Orders come as lines of JSON on standard input: ``{"do": "search", "times": 1000}``, or ``tower``, or ``engine``. What
comes back is the CPU of one, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.people import known_histories
from benchmarks.retrieval.retrieve_caller import PEOPLE
from benchmarks.retrieval.searcher import private_output
from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.query import RetrievalQuery
from twostage.bundle.store import Store
from twostage.features.history import History

_WARM = 200


def main() -> None:
    """Opens the store's generation and obeys."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval.in_process", description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True, help="candidates searched for")
    arguments = parser.parse_args()
    answers = private_output()
    store = Store(arguments.store)
    generation = store.open()
    engine = RetrievalEngine.open(generation)
    index = FaissIndex.open(generation.path, generation.manifest.tower.index, engine.catalogue.vectors)
    histories = [History.of_rows(rows.astype(np.uint32)) for rows in known_histories(store, limit=PEOPLE)]
    vectors: list[NDArray[np.float32]] = []
    for history in histories:
        vector = engine.user_vector(history)
        assert vector is not None
        vectors.append(vector)
    steps: dict[str, Callable[[int], object]] = {
        "search": lambda person: index.search(vectors[person], arguments.count, None),
        "tower": lambda person: engine.user_vector(histories[person]),
        "engine": lambda person: engine.retrieve(RetrievalQuery(histories[person], arguments.count)),
    }
    next_person = count()

    def run(step: Callable[[int], object], times: int) -> None:
        for _ in range(times):
            step(next(next_person) % len(histories))

    for step in steps.values():
        run(step, _WARM)
    answers.write('{"ready": true}\n')
    answers.flush()
    for line in sys.stdin:
        order = json.loads(line)
        step = steps[order["do"]]
        run(step, _WARM // 10)
        started = time.process_time()
        run(step, order["times"])
        cpu_ms = (time.process_time() - started) / order["times"] * 1e3
        answers.write(json.dumps({"cpu_ms": cpu_ms}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
