from __future__ import annotations

import time
from typing import Any

import grpc
import pytest
import structlog

from ranking_service.model_wait import ModelUnavailable, wait_for_models
from tests.unit.ranking_service.scripted_model_server import Answer, refuse, scripted_model_server
from twostage.tfserving import messages
from twostage.tfserving.client import ModelServerClient

_LOADING, _AVAILABLE, _END = 20, 30, 50


def _states(*states: int, error: str = "") -> Answer:
    """Answers one state after another, the last for ever."""
    left = list(states)

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        response = messages.GetModelStatusResponse()
        version = response.model_version_status.add()
        version.version = request.model_spec.version.value
        version.state = left.pop(0) if len(left) > 1 else left[0]
        version.status.error_code = 5 if error else 0
        version.status.error_message = error
        return response

    return answer


def _wait(status: Answer, wait_seconds: float) -> list[str]:
    told: list[str] = []
    with scripted_model_server(status=status) as address, ModelServerClient(address) as client:
        logger = structlog.get_logger()
        wait_for_models(client, ["main"], 7, wait_seconds, logger, told.append)
    return [text.partition(": ")[2] for text in told]


def test_it_returns_at_once_when_the_model_is_there() -> None:
    assert _wait(_states(_AVAILABLE), 0.0) == []


def test_it_tells_what_it_waits_for_once_for_each_state() -> None:
    assert _wait(_states(_LOADING, _LOADING, _LOADING, _AVAILABLE), 10.0) == ["model main version 7 is LOADING"]


def test_a_model_that_the_server_does_not_know_yet_is_waited_for() -> None:
    answers = [refuse(grpc.StatusCode.NOT_FOUND, "Could not find version 7 of model main"), _states(_AVAILABLE)]

    def status(request: Any, context: grpc.ServicerContext) -> Any:
        return (answers.pop(0) if len(answers) > 1 else answers[0])(request, context)

    (told,) = _wait(status, 10.0)
    assert "model main version 7 is not there" in told


def test_the_wait_is_bounded_and_says_what_was_missing() -> None:
    start = time.monotonic()
    with pytest.raises(ModelUnavailable, match=r"version 7 is LOADING; waited 0\.2 s \(model_server_wait_seconds\)"):
        _wait(_states(_LOADING), 0.2)
    assert time.monotonic() - start < 2.0


def test_a_failed_load_is_not_waited_for() -> None:
    start = time.monotonic()
    with pytest.raises(ModelUnavailable, match=r"version 7 failed to load: no saved_model\.pb"):
        _wait(_states(_END, error="no saved_model.pb"), 30.0)
    assert time.monotonic() - start < 5.0


def test_a_server_that_is_not_there_is_named() -> None:
    with scripted_model_server() as address:
        pass
    with ModelServerClient(address) as client, pytest.raises(ModelUnavailable, match=f"{address} does not answer"):
        wait_for_models(client, ["main"], 7, 0.1, structlog.get_logger())


def test_waiting_ends_when_nobody_wants_the_generation_any_more() -> None:
    asked: list[int] = []

    def unwanted() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise LookupError("not wanted")

    with (
        scripted_model_server(status=_states(_LOADING)) as address,
        ModelServerClient(address) as client,
        pytest.raises(LookupError, match="not wanted"),
    ):
        wait_for_models(client, ["main"], 7, 30.0, structlog.get_logger(), require_wanted=unwanted)
    assert len(asked) == 3


def test_several_waits_may_share_one_deadline() -> None:
    start = time.monotonic()
    with scripted_model_server(status=_states(_LOADING)) as address, ModelServerClient(address) as client:
        for _ in range(3):
            with pytest.raises(ModelUnavailable, match=r"waited 30 s"):
                wait_for_models(client, ["main"], 7, 30.0, structlog.get_logger(), deadline=start + 0.2)
    assert time.monotonic() - start < 5
