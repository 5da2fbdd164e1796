"""The gateway as a process, with real retrieval, ranking and model servers behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.users.import_histories import import_histories
from tests.bundles import make_store
from tests.ports import free_port
from twostage.processes import ServiceProcess
from twostage.v1 import gateway_pb2

ITEM_COUNT = 200


@dataclass
class Servers:
    store: Path
    users: Path
    retrieval: ServiceProcess
    ranking: ServiceProcess
    gateway: ServiceProcess
    lines: list[str]

    @property
    def address(self) -> str:
        return str(self.gateway.announcement["address"])


def start(*processes: ServiceProcess, seconds: float = 60.0) -> None:
    for process in processes:
        process.start()
    deadline = time.monotonic() + seconds
    for process in processes:
        process.wait_serving(deadline - time.monotonic())


def stop(process: ServiceProcess) -> None:
    process.terminate()
    process.wait_stopped()


@contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """Serves a new store of 200 items, with the stages and the model server on ports of their own."""
    store = make_store(folder / "store", item_count=ITEM_COUNT, with_models=True).path
    users = folder / "users.sqlite"
    import_histories(users, store / "users" / "1")
    models = folder / "models.config"
    models.write_text(
        f'model_config_list {{ config {{ name: "default" base_path: "{store}/models/default" '
        'model_platform: "tensorflow" model_version_policy { specific { versions: 1 } } } }'
    )
    ports = {name: free_port() for name in ("model_server", "retrieval", "ranking")}
    lines: list[str] = []

    def process(module: str, *arguments: str) -> ServiceProcess:
        return ServiceProcess.python(
            module, *arguments, name=module, on_line=lambda name, line: lines.append(f"{name}: {line}")
        )

    def service(module: str, port: int, *arguments: str) -> ServiceProcess:
        fixed = ["--store", str(store), "--port", str(port), "--metrics-port", "0"]
        return process(module, *fixed, *arguments)

    model_server = process("model_server", f"--port={ports['model_server']}", f"--model_config_file={models}")
    retrieval = service("retrieval_service", ports["retrieval"])
    ranking = service("ranking_service", ports["ranking"], "--model-server", f"127.0.0.1:{ports['model_server']}")
    stages = ["--retrieval", f"127.0.0.1:{ports['retrieval']}", "--ranking", f"127.0.0.1:{ports['ranking']}"]
    gateway = service("gateway", 0, *stages, "--users", str(users))
    everybody = (model_server, ranking, retrieval, gateway)
    try:
        model_server.start()
        start(ranking, retrieval, gateway)
        yield Servers(store, users, retrieval, ranking, gateway, lines)
    finally:
        for each in everybody:
            each.terminate()
        for each in everybody:
            each.wait_stopped()


def until(answers: Callable[[], gateway_pb2.RecommendResponse], rung: int) -> gateway_pb2.RecommendResponse:
    """Asks until an answer stands on a rung; every answer on the way must be a whole one."""
    deadline = time.monotonic() + 10
    while True:
        response = answers()
        assert len(response.recommendations) == 10
        if response.rung == rung:
            return response
        assert time.monotonic() < deadline, f"still {response.rung}: {response.rung_reason}"
        time.sleep(0.02)


def ids(response: gateway_pb2.RecommendResponse) -> list[str]:
    return [recommendation.item_id for recommendation in response.recommendations]
