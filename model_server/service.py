"""The two services on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from model_server.classify import run_classify
from model_server.config import parse_config
from model_server.core import Core
from model_server.errors import ServingError, invalid_argument, wire_message
from model_server.metadata import check_fields, describe
from model_server.multi_inference import run_multi_inference
from model_server.predict import run_predict
from model_server.regress import run_regress
from model_server.status import answer_status

# A caller without a deadline is given as one in the far future.
_NO_DEADLINE_SECONDS = 365 * 24 * 3600.0


@contextmanager
def _status_of(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except ServingError as error:
        context.abort(error.code, wire_message(error.message))


def _time_left_ms(context: grpc.ServicerContext) -> int | None:
    seconds = context.time_remaining()
    if seconds is None or seconds > _NO_DEADLINE_SECONDS:
        return None
    return max(1, int(seconds * 1000))


class PredictionServicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """``tensorflow.serving.PredictionService``.

    Args:
        core: Holds the models.
        as_content: Answer Predict with ``tensor_content`` instead of typed lists.
    """

    def __init__(self, core: Core, *, as_content: bool) -> None:
        self._core = core
        self._as_content = as_content

    def Predict(  # noqa: N802  - the service's name
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Runs a signature."""
        with _status_of(context):
            _require_spec(request)
            with self._core.acquire(request.model_spec) as (version, servable):
                response = run_predict(
                    servable, request, timeout_ms=_time_left_ms(context), as_content=self._as_content
                )
            _name_version(response.model_spec, request.model_spec.name, version)
            return response
        raise AssertionError  # abort has raised

    def Classify(  # noqa: N802
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        """Tells the classes of examples."""
        with _status_of(context):
            _require_spec(request)
            with self._core.acquire(request.model_spec) as (version, servable):
                response = run_classify(servable, request, _time_left_ms(context))
            _name_version(response.model_spec, request.model_spec.name, version)
            return response
        raise AssertionError

    def Regress(  # noqa: N802
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        """Tells one number of each example."""
        with _status_of(context):
            _require_spec(request)
            with self._core.acquire(request.model_spec) as (version, servable):
                response = run_regress(servable, request, _time_left_ms(context))
            _name_version(response.model_spec, request.model_spec.name, version)
            return response
        raise AssertionError

    def MultiInference(  # noqa: N802
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> inference_pb2.MultiInferenceResponse:
        """Runs several signatures of one model on the same examples."""
        with _status_of(context):
            if not request.tasks:
                raise invalid_argument("Missing ModelSpec")
            _require_spec(request.tasks[0])
            with self._core.acquire(request.tasks[0].model_spec) as (version, servable):
                response = run_multi_inference(servable, request, _time_left_ms(context))
            for result in response.results:
                _name_version(result.model_spec, request.tasks[0].model_spec.name, version)
            return response
        raise AssertionError

    def GetModelMetadata(  # noqa: N802
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Describes a model's signatures."""
        with _status_of(context):
            _require_spec(request)
            check_fields(request.metadata_field)
            with self._core.acquire(request.model_spec) as (version, servable):
                response = describe(servable)
            _name_version(response.model_spec, request.model_spec.name, version)
            return response
        raise AssertionError


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """``tensorflow.serving.ModelService``.

    Args:
        core: Holds the models.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Tells the states of a model's versions."""
        with _status_of(context):
            return answer_status(self._core, request)
        raise AssertionError

    def HandleReloadConfigRequest(  # noqa: N802
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replaces the configuration."""
        with _status_of(context):
            if request.config.WhichOneof("config") != "model_config_list":
                raise invalid_argument(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                    "Only ModelConfigList is currently supported"
                )
            self._core.reload(parse_config(request.config))
            response = model_management_pb2.ReloadConfigResponse()
            response.status.SetInParent()
            for name in request.metric_names:
                # Nothing is counted under these names; the real server, too, says 0 of a name it does not know.
                response.metric.add(name=name, int64_value_increase=0)
            return response
        raise AssertionError


def _require_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def _name_version(spec: Any, model: str, version: int) -> None:
    spec.name = model
    spec.version.value = version
