"""One client of a ranking server, told when to ask: ``python -m benchmarks.ranking.rank_caller``.

Its requests are those of people whose histories the store carries, with the candidates that retrieval finds for them.
Orders come as lines of JSON on standard input: ``{"requests": 1000}``, with ``"explain": true`` to ask for
explanations, or with ``"address"`` and ``"method"`` to send the same bytes to another server whatever it answers. What
comes back are the milliseconds of each.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.retrieval.searcher import private_output
from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import RetrievalQuery
from twostage.bundle.histories import known_people
from twostage.bundle.store import Store
from twostage.features.history import HISTORY_LENGTH, History
from twostage.rpc.environment import prefer_grpc_polling
from twostage.v1 import common_pb2, ranking_pb2, retrieval_pb2

RANK_METHOD = "/twostage.v1.RankingService/Rank"
_PEOPLE = 200
_TIMEOUT_SECONDS = 10.0


def make_requests(store: Store, candidate_count: int, item_count: int) -> list[ranking_pb2.RankRequest]:
    """Requests as a gateway sends them, for the newest taste of people."""
    generation = store.open()
    engine = RetrievalEngine.open(generation)
    schema = generation.manifest.action_schema
    requests = []
    for person in known_people(store, limit=_PEOPLE, least_count=5):
        columns = zip(person.item_ids, person.actions, person.values, person.times, strict=True)
        taste = [entry for entry in columns if schema.is_taste(entry[1], entry[2])][-HISTORY_LENGTH:]
        if not taste:
            continue
        item_ids, actions, values, times = zip(*taste, strict=True)
        rows = generation.ids.rows(list(item_ids))
        query = RetrievalQuery(
            History.of_rows(rows), candidate_count, exclude_rows=rows.astype(np.uint32), return_history_weights=True
        )
        found = engine.retrieve(query)
        requests.append(
            ranking_pb2.RankRequest(
                generation=generation.number,
                history=common_pb2.History(rows=rows.tolist(), actions=actions, values=values, times_seconds=times),
                context=common_pb2.Context(surface="home", device="phone"),
                candidates=retrieval_pb2.CandidateColumns(
                    rows=found.rows.tolist(), scores=found.scores.tolist(), sources=found.sources.tolist()
                ),
                count=item_count,
                history_weights=[] if found.history_weights is None else found.history_weights.tolist(),
            )
        )
    return requests


def main() -> None:
    """Connects and obeys."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranking.rank_caller", description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--candidates", type=int, required=True)
    parser.add_argument("--count", type=int, required=True, help="items asked for")
    arguments = parser.parse_args()
    prefer_grpc_polling()
    answers = private_output()
    messages = make_requests(Store(arguments.store), arguments.candidates, arguments.count)
    plain = [message.SerializeToString() for message in messages]
    for message in messages:
        message.explain = True
    explaining = [message.SerializeToString() for message in messages]
    next_person = count()
    calls: dict[tuple[str, str], Any] = {}

    def ask(order: dict[str, Any]) -> float:
        address, method = order.get("address", arguments.address), order.get("method", RANK_METHOD)
        call = calls.get((address, method))
        if call is None:
            call = calls[address, method] = grpc.insecure_channel(address).unary_unary(method)
        requests = explaining if order.get("explain") else plain
        request = requests[next(next_person) % len(requests)]
        started = time.perf_counter()
        response: bytes = call(request, timeout=_TIMEOUT_SECONDS)
        milliseconds = (time.perf_counter() - started) * 1e3
        if method == RANK_METHOD and len(ranking_pb2.RankResponse.FromString(response).items) != arguments.count:
            raise SystemExit(f"expected {arguments.count} items")
        return milliseconds

    answers.write(json.dumps({"ready": True, "request_bytes": int(np.mean([len(one) for one in plain]))}) + "\n")
    answers.flush()
    for line in sys.stdin:
        order = json.loads(line)
        taken = [ask(order) for _ in range(order["requests"])]
        answers.write(json.dumps({"milliseconds": taken}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
