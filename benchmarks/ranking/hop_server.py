"""The least that a Python server between two others can cost: ``python -m benchmarks.ranking.hop_server``.

It answers any method with fixed bytes, from gRPC's own thread pool, with nothing of ours around it. ``/hop/Empty`` is
answered at once; for ``/hop/Through`` it first sends ``--send-bytes`` to ``--backend``, of the size of a Predict of 500
candidates. It writes a line of JSON with its address and obeys nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from benchmarks.retrieval.searcher import private_output
from twostage.rpc.environment import prefer_grpc_polling

_UNBOUNDED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


def main() -> None:
    """Serves until its input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranking.hop_server", description=__doc__)
    parser.add_argument("--backend")
    parser.add_argument("--send-bytes", type=int, default=0)
    parser.add_argument("--answer-bytes", type=int, default=0)
    arguments = parser.parse_args()
    prefer_grpc_polling()
    answers = private_output()
    sent, answered = b"\1" * arguments.send_bytes, b"\1" * arguments.answer_bytes
    backend: Any = None
    if arguments.backend:
        backend = grpc.insecure_channel(arguments.backend, options=_UNBOUNDED).unary_unary("/hop/Empty")

    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            def answer(_request: Any, _context: grpc.ServicerContext) -> Any:
                if backend is not None and handler_call_details.method == "/hop/Through":
                    backend(sent, timeout=5)
                return answered

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(4), handlers=[Handler()], options=_UNBOUNDED)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    answers.write(json.dumps({"address": f"127.0.0.1:{port}"}) + "\n")
    answers.flush()
    sys.stdin.read()
    server.stop(None).wait()


if __name__ == "__main__":
    main()
