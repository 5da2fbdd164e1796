from __future__ import annotations

import time
from typing import Any

import grpc
import numpy as np
import pytest

from ranking_service.engine.errors import ModelAnswerInvalid
from ranking_service.engine.scorer import HistoryEffects
from ranking_service.model_server_scorer import ModelServerScorer
from tests.unit.ranking_service.catalogue import ranker_entry
from tests.unit.ranking_service.scripted_model_server import Answer, refuse, scripted_model_server
from twostage.bundle.manifest import RowsEntry
from twostage.errors import DeadlineSpent, NotReady, Overloaded
from twostage.tfserving import messages
from twostage.tfserving.client import ModelServerClient
from twostage.tfserving.tensors import encode

_INPUTS = {"retrieval_scores": np.array([0.5, 0.25], np.float32)}


def _score(predict: Answer, *, timeout_seconds: float = 5.0) -> Any:
    with scripted_model_server(predict) as address, ModelServerClient(address) as client:
        return ModelServerScorer(client, [ranker_entry()]).score("main", 7, _INPUTS, timeout_seconds)


def test_it_asks_for_the_generations_version_by_signature_with_tensor_content() -> None:
    seen: list[Any] = []

    def predict(request: Any, context: grpc.ServicerContext) -> Any:
        seen.append(request)
        response = messages.PredictResponse()
        response.outputs["action_scores"].CopyFrom(encode(np.array([[0.5, 1.0], [0.0, 0.25]], np.float32)))
        return response

    assert _score(predict).tolist() == [[0.5, 1.0], [0.0, 0.25]]
    (request,) = seen
    assert request.model_spec.name == "main"
    assert request.model_spec.version.value == 7
    assert request.model_spec.signature_name == "serving_default"
    assert list(request.output_filter) == ["action_scores"]
    assert request.inputs["retrieval_scores"].tensor_content == _INPUTS["retrieval_scores"].tobytes()


def test_rows_are_for_the_signature_that_reads_them() -> None:
    seen: list[str] = []

    def predict(request: Any, context: grpc.ServicerContext) -> Any:
        seen.append(request.model_spec.signature_name)
        response = messages.PredictResponse()
        response.outputs["action_scores"].CopyFrom(encode(np.zeros((2, 2), np.float32)))
        return response

    entry = ranker_entry(by_row=RowsEntry(signature="from_rows", inputs=["candidate_rows"]))
    with scripted_model_server(predict) as address, ModelServerClient(address) as client:
        scorer = ModelServerScorer(client, [entry])
        scorer.score("main", 7, {"candidate_rows": np.array([3, 4], np.int32)}, 5.0)
        scorer.score("main", 7, _INPUTS, 5.0)
    assert seen == ["from_rows", "serving_default"]


@pytest.mark.parametrize(
    ("code", "details", "error", "message"),
    [
        (grpc.StatusCode.UNAVAILABLE, "draining", NotReady, "the model server does not answer$"),
        (
            grpc.StatusCode.NOT_FOUND,
            "Servable not found for request: Specific(main, 7)",
            NotReady,
            "does not hold model main version 7",
        ),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted", Overloaded, "over capacity"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", DeadlineSpent, "waiting for the model server"),
        (grpc.StatusCode.INTERNAL, "kernel failed", NotReady, "the model server failed with INTERNAL$"),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            "input size does not match signature",
            ModelAnswerInvalid,
            "model main version 7: expected signature serving_default with inputs retrieval_scores",
        ),
        (
            grpc.StatusCode.FAILED_PRECONDITION,
            'Serving signature key "serving_default" not found.',
            ModelAnswerInvalid,
            "not found",
        ),
    ],
)
def test_a_failing_model_server_is_told_as_what_it_means(
    code: grpc.StatusCode, details: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        _score(refuse(code, details))
    if isinstance(caught.value, NotReady):
        assert caught.value.detail.endswith(f": {details}")


def test_a_late_answer_is_a_spent_deadline() -> None:
    def predict(request: Any, context: grpc.ServicerContext) -> Any:
        time.sleep(0.5)
        return messages.PredictResponse()

    with pytest.raises(DeadlineSpent):
        _score(predict, timeout_seconds=0.1)


def test_an_unreachable_model_server_is_named_to_the_log_and_not_to_the_caller() -> None:
    with scripted_model_server() as address:
        pass
    with ModelServerClient(address) as client, pytest.raises(NotReady) as caught:
        ModelServerScorer(client, [ranker_entry()]).score("main", 7, _INPUTS, 1.0)
    assert caught.value.message == "not ready: the model server does not answer"
    assert caught.value.loggable["detail"].startswith(f"model server at {address}: ")


def test_a_missing_output_is_no_answer() -> None:
    with pytest.raises(ModelAnswerInvalid, match="expected output action_scores, received no output"):
        _score(lambda _request, _context: messages.PredictResponse())


def test_rankers_that_share_a_model_must_agree_about_its_signature() -> None:
    with ModelServerClient("127.0.0.1:1") as client:
        ModelServerScorer(client, [ranker_entry(), ranker_entry()])
        with pytest.raises(ValueError, match="model main: expected the same signatures"):
            ModelServerScorer(client, [ranker_entry(), ranker_entry(signature="other")])


def test_an_answer_of_another_version_is_no_answer() -> None:
    def predict(request: Any, context: grpc.ServicerContext) -> Any:
        response = messages.PredictResponse()
        response.model_spec.name, response.model_spec.version.value = "main", 6
        response.outputs["action_scores"].CopyFrom(encode(np.zeros((2, 2), np.float32)))
        return response

    with pytest.raises(ModelAnswerInvalid, match="model main version 7: expected an answer of this version"):
        _score(predict)


def _effects(predict: Answer, times: int = 1) -> list[Any]:
    with scripted_model_server(predict) as address, ModelServerClient(address) as client:
        scorer = ModelServerScorer(client, [ranker_entry()])
        assert isinstance(scorer, HistoryEffects)
        return [scorer.history_effects("main", 7, _INPUTS, 5.0) for _ in range(times)]


def test_effects_are_asked_of_the_second_signature() -> None:
    seen: list[Any] = []

    def predict(request: Any, context: grpc.ServicerContext) -> Any:
        seen.append(request)
        response = messages.PredictResponse()
        response.outputs["history_effects"].CopyFrom(encode(np.full((2, 50, 2), 0.5, np.float32)))
        return response

    (effects,) = _effects(predict)
    assert effects.shape == (2, 50, 2)
    (request,) = seen
    assert (request.model_spec.signature_name, request.model_spec.version.value) == ("history_effects", 7)
    assert list(request.output_filter) == ["history_effects"]


def test_a_model_without_the_second_signature_is_asked_once() -> None:
    calls: list[Any] = []

    def predict(request: Any, context: grpc.ServicerContext) -> Any:
        calls.append(request)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, 'Serving signature key "history_effects" not found.')

    assert _effects(predict, times=3) == [None, None, None]
    assert len(calls) == 1


def test_effects_that_fail_are_told_as_what_it_means() -> None:
    with pytest.raises(Overloaded):
        _effects(refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted"))
