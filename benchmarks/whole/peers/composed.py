"""The same models composed with Ray Serve: ``python -m benchmarks.whole.peers.composed``.

Three deployments with a replica each, as our services are: an ingress that knows the people, retrieval and ranking,
called through handles. The ranker is the bundle's own SavedModel on one thread, as our model server runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.whole.peers.bundle_files import BundleFiles, Person
from benchmarks.whole.peers.models import Ranking, Retriever
from benchmarks.whole.peers.people import CANDIDATE_COUNT, People

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Retrieval:
    """User tower and index.

    Args:
        store: The store's folder.
    """

    def __init__(self, store: str) -> None:
        self._retriever = Retriever(BundleFiles(Path(store)))

    def retrieve(self, taste_rows: list[int], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `Retriever`."""
        return self._retriever.retrieve(taste_rows, count)


class Ranker:
    """The ranker's SavedModel.

    Args:
        store: The store's folder.
    """

    def __init__(self, store: str) -> None:
        self._ranking = Ranking(BundleFiles(Path(store)), threads=1)

    def rank(
        self,
        person: Person,
        taste: list[int],
        rows: NDArray[np.int64],
        scores: NDArray[np.float32],
        count: int,
    ) -> list[int]:
        """See `Ranking`."""
        return self._ranking.rank(person, taste, rows, scores, count)


class Ingress:
    """HTTP in, people, and the two stages in turn.

    Args:
        store: The store's folder.
        retrieval: The handle of `Retrieval`.
        ranker: The handle of `Ranker`.
    """

    def __init__(self, store: str, retrieval: Any, ranker: Any) -> None:
        self._people = People(BundleFiles(Path(store)))
        self._retrieval = retrieval
        self._ranker = ranker

    async def __call__(self, request: Any) -> dict[str, Any]:
        """Answers a POST of JSON to /recommend, /candidates or /events."""
        asked = await request.json()
        if request.url.path == "/events":
            self._people.record(asked["user_id"], asked["item_id"], asked["action"])
            return {}
        person, taste = self._people.find(asked["user_id"])
        # What was seen is taken out of what was found, so as much more is asked for.
        count = CANDIDATE_COUNT + len(set(person.rows))
        found, near = await self._retrieval.retrieve.remote([person.rows[position] for position in taste], count)
        rows, scores = self._people.unseen(person, found, near, asked.get("filter"))
        if request.url.path == "/candidates":
            return {"rows": rows.tolist()}
        ranked = await self._ranker.rank.remote(person, taste, rows, scores, asked["count"]) if len(rows) else []
        return self._people.answer(ranked)


def main() -> None:
    """Serves until it is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", required=True, help="Where Ray keeps its session.")
    arguments = parser.parse_args()
    # What our processes set for grpcio is not Ray's.
    for name in ("GRPC_EXPERIMENTS", "GRPC_ENABLE_FORK_SUPPORT"):
        os.environ.pop(name, None)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - after the environment is set
    from ray import serve  # noqa: PLC0415 - as above

    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    # Cores are places to Ray, not limits: one for each replica.
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=128 << 20,
        log_to_driver=False,
        _temp_dir=arguments.folder,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": arguments.port})

    def deployed(kind: type) -> Any:
        options = {"num_cpus": 1, "runtime_env": {"env_vars": {"TF_CPP_MIN_LOG_LEVEL": "3"}}}
        return serve.deployment(kind, ray_actor_options=options, max_ongoing_requests=100)

    retrieval = deployed(Retrieval).bind(arguments.store)
    ranker = deployed(Ranker).bind(arguments.store)
    serve.run(deployed(Ingress).bind(arguments.store, retrieval, ranker), route_prefix="/")
    print(json.dumps({"event": "serving", "address": f"127.0.0.1:{arguments.port}"}), flush=True)
    over.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
