from __future__ import annotations

import threading
from typing import Any

import grpc
import numpy as np
import pytest

from tests.unit.ranking_service.scripted_model_server import Answer, refuse, scripted_model_server
from twostage.tfserving import messages
from twostage.tfserving.client import ModelServerClient
from twostage.tfserving.errors import ModelServerDeadline, ModelServerError, ModelServerOverloaded


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.in_flight = 0

    def call_began(self) -> None:
        self.in_flight += 1

    def call_ended(self, outcome: str) -> None:
        self.in_flight -= 1
        self.told.append(outcome)

    def call_refused(self) -> None:
        self.told.append("refused")


def predict(client: ModelServerClient, timeout_seconds: float = 5.0) -> None:
    client.predict("main", 1, {"x": np.zeros(1, np.float32)}, timeout_seconds=timeout_seconds)


def test_each_call_is_told_with_how_it_ended() -> None:
    told, release = Told(), threading.Event()
    answers: list[Answer] = [
        lambda _request, _context: messages.PredictResponse(),
        refuse(grpc.StatusCode.INVALID_ARGUMENT, "no such input"),
        lambda _request, _context: (release.wait(10), messages.PredictResponse())[1],
    ]

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        return answers.pop(0)(request, context)

    with scripted_model_server(predict=answer) as address, ModelServerClient(address, 1, told) as client:
        predict(client)
        with pytest.raises(ModelServerError):
            predict(client)
        with pytest.raises(ModelServerDeadline):
            predict(client, 0.2)
        # The late one still has the only place: the server computes it to its end.
        with pytest.raises(ModelServerOverloaded):
            predict(client)
        release.set()
    assert told.told == ["answered", "failed", "late", "refused"]
    assert told.in_flight == 0
