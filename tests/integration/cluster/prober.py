"""Asks servers for their health as a kubelet does, and writes one line of JSON for each answer; run as a program.

::

    python -m tests.integration.cluster.prober 10.78.0.5:50051 10.78.0.6:50052

Every half second each address is asked for each name, over a connection of its own, and may take a second. A line says
``asked`` and ``answered`` (seconds by ``time.monotonic``), ``address``, ``service`` (the empty name is readiness) and
``status``: that of the answer, or the code of a failure.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from twostage.rpc.question import status_of

PERIOD_SECONDS = 0.5
TIMEOUT_SECONDS = 1.0
NAMES = ("", "liveness")


def probe(address: str, service: str) -> str:
    """What a server says of its health, or how it failed to."""
    # Else channels of one process share a connection; a kubelet makes a new one each time.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(address, options=options) as channel:
        ask: Any = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined] # of the stub's making
        try:
            answer = ask(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            return status_of(error).name
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def main() -> None:
    over = threading.Event()
    lock = threading.Lock()
    signal.signal(signal.SIGTERM, lambda *_: over.set())

    def keep_probing(address: str, service: str) -> None:
        while not over.is_set():
            asked = time.monotonic()
            line = {"asked": asked, "address": address, "service": service, "status": probe(address, service)}
            line["answered"] = time.monotonic()
            with lock:
                sys.stdout.write(json.dumps(line) + "\n")
                sys.stdout.flush()
            over.wait(max(asked + PERIOD_SECONDS - time.monotonic(), 0.0))

    threads = [
        threading.Thread(target=keep_probing, args=(address, service)) for address in sys.argv[1:] for service in NAMES
    ]
    for thread in threads:
        thread.start()
    sys.stdout.write(json.dumps({"event": "serving", "service": "prober"}) + "\n")
    sys.stdout.flush()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
