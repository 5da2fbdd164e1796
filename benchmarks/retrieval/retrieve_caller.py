"""One client of a retrieval server, told when to ask: ``python -m benchmarks.retrieval.retrieve_caller``.

Orders come as lines of JSON on standard input: ``{"requests": 1000}`` asks so often, ``{"seconds": 5}`` so long, each
request after the last one's answer. What comes back are the milliseconds of each.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import count
from pathlib import Path

import grpc

from benchmarks.people import known_histories
from benchmarks.retrieval.searcher import private_output
from twostage.bundle.store import Store
from twostage.rpc.channels import channel_options
from twostage.v1 import common_pb2, retrieval_pb2, retrieval_pb2_grpc

PEOPLE = 500
_WARM_REQUESTS = 200
_TIMEOUT_SECONDS = 10.0
_MOST_BYTES = 16 * 2**20


def main() -> None:
    """Connects and obeys."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval.retrieve_caller", description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--count", type=int, required=True, help="candidates asked for")
    parser.add_argument("--first", type=int, default=0, help="the person to begin with")
    arguments = parser.parse_args()
    answers = private_output()
    requests = [
        retrieval_pb2.RetrieveRequest(history=common_pb2.History(rows=rows.tolist()), count=arguments.count)
        for rows in known_histories(Store(arguments.store), limit=PEOPLE)
    ]
    next_person = count(arguments.first)
    with grpc.insecure_channel(arguments.address, options=channel_options(_MOST_BYTES, None)) as channel:
        stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)

        def ask() -> float:
            request = requests[next(next_person) % len(requests)]
            started = time.perf_counter()
            response = stub.Retrieve(request, timeout=_TIMEOUT_SECONDS)
            milliseconds = (time.perf_counter() - started) * 1e3
            if len(response.candidates.rows) != arguments.count:
                raise SystemExit(f"expected {arguments.count} candidates, received {len(response.candidates.rows)}")
            return milliseconds

        for _ in range(_WARM_REQUESTS):
            ask()
        answers.write('{"ready": true}\n')
        answers.flush()
        for line in sys.stdin:
            order = json.loads(line)
            if "requests" in order:
                taken = [ask() for _ in range(order["requests"])]
            else:
                taken = []
                end = time.perf_counter() + order["seconds"]
                while time.perf_counter() < end:
                    taken.append(ask())
            answers.write(json.dumps({"milliseconds": taken}) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
