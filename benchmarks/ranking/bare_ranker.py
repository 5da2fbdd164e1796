"""A ranker's graph called directly on one thread: ``python -m benchmarks.ranking.bare_ranker``.

Orders come as lines of JSON on standard input, ``{"requests": 1000}``; what comes back are milliseconds of CPU and of
wall time for each. The inputs are gathered beforehand, so that the graph alone is measured, called as TensorFlow
Serving calls it: a session with feeds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.ranking.rank_caller import make_requests
from benchmarks.retrieval.searcher import private_output
from ranking_service.convert import to_query
from ranking_service.engine.engine import RankingEngine
from twostage.bundle.store import Store


def main() -> None:
    """Loads and obeys."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranking.bare_ranker", description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--candidates", type=int, required=True)
    arguments = parser.parse_args()
    answers = private_output()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    store = Store(arguments.store)
    engine = RankingEngine.open(store.open())
    ranker = engine.ranker()
    entry = ranker.entry
    prepared = []
    for request in make_requests(store, arguments.candidates, 20):
        query = to_query(request, engine.rows_of, engine.action_codes)
        prepared.append(ranker.gather(query.history, query.context, query.candidate_rows, query.retrieval_scores))
    signature = entry.signature if entry.by_row is None else entry.by_row.signature
    run = _session(store.path / "models" / entry.model / str(engine.number), signature, entry.output)
    turn = count()
    for inputs in prepared[:50]:
        run(inputs)
    answers.write(json.dumps({"ready": True}) + "\n")
    answers.flush()
    for line in sys.stdin:
        times = json.loads(line)["requests"]
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            run(prepared[next(turn) % len(prepared)])
        spent = {
            "cpu_ms": (time.process_time() - cpu) / times * 1e3,
            "wall_ms": (time.perf_counter() - wall) / times * 1e3,
        }
        answers.write(json.dumps(spent) + "\n")
        answers.flush()


def _session(path: Path, signature: str, output: str) -> Any:
    import tensorflow as tf  # noqa: PLC0415 - after its log level is set

    one_thread = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=one_thread)
    with session.graph.as_default():
        meta_graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(path))
    definition = meta_graph.signature_def[signature]
    names = {name: tensor.name for name, tensor in definition.inputs.items()}
    fetched = definition.outputs[output].name
    # As a server does, without Session.run's checks in Python.
    call = session.make_callable(fetched, feed_list=list(names.values()))
    return lambda inputs: call(*(inputs[name] for name in names))


if __name__ == "__main__":
    main()
