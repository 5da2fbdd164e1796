"""The REST port's answers: model status, model metadata and metrics, as the real server words them.

Predictions over REST are not offered: JSON costs many times what gRPC does, and the answer says which method to call.
Source: ``tensorflow_serving/model_servers/http_rest_api_util.cc`` and ``http_server.cc``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from model_server.core import Core
from model_server.errors import ServingError, invalid_argument
from model_server.metadata import describe
from model_server.metrics import Metrics
from model_server.status import answer_status
from twostage.rpc.http_status import HTTP_STATUS

_MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_QUESTION = re.compile(rf"(?i){_MODEL}(?:/(metadata))?")
_PREDICTION = re.compile(rf"(?i){_MODEL}:(classify|regress|predict)")
_JSON = "application/json"
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class RestAnswer:
    """An HTTP response.

    Args:
        status: Its code.
        content_type: Of the body.
        body: The bytes.
    """

    status: int
    content_type: str
    body: bytes


class RestApi:
    """Answers HTTP requests about the models.

    Args:
        core: Holds the models.
        metrics: Counts the requests, and is exposed.
        metrics_path: Where the metrics are; None hides them.
    """

    def __init__(self, core: Core, metrics: Metrics, metrics_path: str | None) -> None:
        self._core = core
        self._metrics = metrics
        self._metrics_path = metrics_path

    def answer(self, method: str, path: str) -> RestAnswer:
        """Answers one request; never raises.

        Args:
            method: The HTTP method.
            path: The path, still with its percent signs, without a query.
        """
        if self._metrics_path is not None and path == self._metrics_path:
            return RestAnswer(200, "text/plain", self._metrics.expose().encode())
        if not path.lower().startswith("/v1/"):
            return _error(404, f"Not found: {method} {path}")
        began = time.perf_counter()
        question = _QUESTION.fullmatch(path)
        # A body is not looked at, so all that is known of a refused POST is its path.
        prediction = _PREDICTION.fullmatch(path) if method == "POST" else None
        model = unquote((question or prediction or [path, ""])[1])
        try:
            if method != "GET" or question is None:
                raise _refusal(method, path, prediction)
            text = self._describe(question, model) if question[4] else self._status(question, model)
        except ServingError as error:
            self._metrics.count_request(model, error.code.name)
            return _error(HTTP_STATUS.get(error.code, 500), error.message)
        self._metrics.count_request(model, "OK")
        # The real server, too, names no method for what is not a prediction.
        self._metrics.time_request(model, "", "REST", (time.perf_counter() - began) * 1e6)
        return RestAnswer(200, _JSON, text.encode())

    def _status(self, question: re.Match[str], model: str) -> str:
        request = get_model_status_pb2.GetModelStatusRequest()
        _name(request.model_spec, question, model)
        return f"{_to_json(answer_status(self._core, request))}\n"

    def _describe(self, question: re.Match[str], model: str) -> str:
        spec = get_model_metadata_pb2.GetModelMetadataRequest().model_spec
        _name(spec, question, model)
        with self._core.acquire(spec) as (version, servable):
            signatures = get_model_metadata_pb2.SignatureDefMap()
            describe(servable).metadata["signature_def"].Unpack(signatures)
        spec.Clear()
        spec.name = model
        spec.version.value = version
        # Put together by hand, as the real server does, whose clients may compare the text.
        return f'{{\n"model_spec":{_to_json(spec)}\n,\n"metadata": {{"signature_def": {_to_json(signatures)}\n}}\n}}\n'


def _refusal(method: str, path: str, prediction: re.Match[str] | None) -> ServingError:
    if prediction is not None:
        return ServingError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"{prediction[4]} is not offered over REST by the embedded server; call "
            f"tensorflow.serving.PredictionService/{prediction[4].capitalize()} over gRPC",
        )
    if method == "GET" and path.lower() == "/v1/models":
        return invalid_argument("Missing model name in request.")
    return invalid_argument(f"Malformed request: {method} {path}")


def _name(spec: Any, question: re.Match[str], model: str) -> None:
    spec.name = model
    if question[2]:
        digits = question[2].lstrip("0") or "0"
        # Python reads no number of thousands of digits.
        if len(digits) > len(str(_INT64_MAX)) or int(digits) > _INT64_MAX:
            raise invalid_argument(f"Failed to convert version: {question[2]} to numeric.")
        spec.version.value = int(digits)
    elif question[3]:
        spec.version_label = unquote(question[3])


def _to_json(message: Any) -> str:
    write: Callable[..., str] = json_format.MessageToJson
    return write(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        indent=1,
        ensure_ascii=False,
    )


def _error(status: int, message: str) -> RestAnswer:
    return RestAnswer(status, _JSON, json.dumps({"error": message}, indent=4, ensure_ascii=False).encode())
