"""The pipeline of a tutorial: one web process with everything in it. ``python -m benchmarks.whole.peers.tutorial``.

FastAPI and uvicorn, the user tower, the index and the ranker's SavedModel loaded at start. A request searches for more
candidates than it needs, takes out what was seen or filtered, calls the model with the person repeated for each
candidate, and sorts. There is no deadline, no admission, no degraded answer and no second generation.
"""

from __future__ import annotations

import argparse
import json
import socket
from pathlib import Path
from typing import Any

from benchmarks.whole.peers.bundle_files import BundleFiles
from benchmarks.whole.peers.models import Ranking, Retriever
from benchmarks.whole.peers.people import CANDIDATE_COUNT, People

OVER_FETCH = 2
"""How many times the candidates are searched for, so that some are left when what was seen is taken out."""


class TutorialPipeline:
    """Everything in one process.

    Args:
        store: The store's folder.
        model: The ranker, which meets the person anew for each candidate.
    """

    def __init__(self, store: Path, model: Path) -> None:
        bundle = BundleFiles(store)
        self.people = People(bundle)
        self._retriever = Retriever(bundle)
        self._ranking = Ranking(bundle, model)

    def candidates(self, user_id: str, wanted: dict[str, str] | None = None) -> tuple[Any, Any]:
        """A person's candidates: rows and inner products, best first."""
        person, taste = self.people.find(user_id)
        rows = [person.rows[position] for position in taste]
        return self.people.unseen(person, *self._retriever.retrieve(rows, OVER_FETCH * CANDIDATE_COUNT), wanted)

    def recommend(
        self, user_id: str, count: int, wanted: dict[str, str] | None = None, now_seconds: float | None = None
    ) -> list[int]:
        """The rows of a person's recommendations, best first."""
        person, taste = self.people.find(user_id)
        rows, scores = self.candidates(user_id, wanted)
        return self._ranking.rank(person, taste, rows, scores, count, now_seconds) if len(rows) else []


def main() -> None:
    """Serves until it is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    import uvicorn  # noqa: PLC0415 - the pipeline itself does without a web server
    from fastapi import Body, FastAPI  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - as above

    pipeline = TutorialPipeline(arguments.store, arguments.model)
    app = FastAPI()

    # Functions that are not coroutines: FastAPI runs them in its pool of threads.
    def recommend(asked: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008 - how FastAPI declares a body
        return pipeline.people.answer(pipeline.recommend(asked["user_id"], asked["count"], asked.get("filter")))

    def candidates(asked: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008 - as above
        return {"rows": pipeline.candidates(asked["user_id"])[0].tolist()}

    def events(asked: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008 - as above
        pipeline.people.record(asked["user_id"], asked["item_id"], asked["action"])
        return {}

    for handler in (recommend, candidates, events):
        app.add_api_route(f"/{handler.__name__}", handler, methods=["POST"])
    # Bound before anybody is told: who connects at once waits until uvicorn takes it up.
    with socket.create_server(("127.0.0.1", arguments.port)) as listening:
        print(json.dumps({"event": "serving", "address": f"127.0.0.1:{arguments.port}"}), flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
