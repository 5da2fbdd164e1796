"""The two services on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError
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

from model_server.calls import Calls
from model_server.classify import run_classify
from model_server.config import parse_config
from model_server.core import Core
from model_server.errors import invalid_argument
from model_server.metadata import check_fields, describe
from model_server.multi_inference import run_multi_inference
from model_server.predict import run_predict
from model_server.predict_wire import parse_request
from model_server.regress import run_regress
from model_server.servable import Servable
from model_server.status import answer_status
from model_server.timed_servable import TimedServable

_SERVICE = "tensorflow.serving.PredictionService"


class PredictionServicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """``tensorflow.serving.PredictionService``.

    Args:
        core: Holds the models.
        calls: Runs the calls.
        as_content: Answer Predict with ``tensor_content`` instead of typed lists.
    """

    def __init__(self, core: Core, calls: Calls, *, as_content: bool) -> None:
        self._core = core
        self._calls = calls
        self._as_content = as_content

    def add_to(self, server: grpc.Server) -> None:
        """Registers the service with a server that has not started; Predict's requests come as bytes."""
        predict: grpc.RpcMethodHandler[bytes, predict_pb2.PredictResponse] = grpc.unary_unary_rpc_method_handler(
            self.Predict, response_serializer=predict_pb2.PredictResponse.SerializeToString
        )
        # The first handler that knows a method answers it, so this one goes before the generated one.
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Predict": predict}),))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, server)

    def Predict(  # noqa: N802  - the service's name
        self, request: bytes, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Runs a signature."""
        try:
            message, contents = parse_request(request)
        except DecodeError:
            # As gRPC answers for what it cannot read itself.
            context.abort(grpc.StatusCode.INTERNAL, "Exception deserializing request!")

        def work(message: predict_pb2.PredictRequest, timeout_ms: int | None) -> predict_pb2.PredictResponse:
            _require_spec(message)
            spec = message.model_spec
            with self._core.acquire(spec) as (version, servable):
                timed = TimedServable(servable, self._calls.metrics, spec.name, "Predict")
                response = run_predict(
                    cast("Servable", timed), message, contents, timeout_ms=timeout_ms, as_content=self._as_content
                )
            _name_version(response.model_spec, spec.name, version)
            return response

        return self._calls.answer_counted("Predict", context, message, work)

    def Classify(  # noqa: N802
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        """Tells the classes of examples."""
        return self._calls.answer_counted("Classify", context, request, self._classify)

    def Regress(  # noqa: N802
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        """Tells one number of each example."""
        return self._calls.answer_counted("Regress", context, request, self._regress)

    def MultiInference(  # noqa: N802
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> inference_pb2.MultiInferenceResponse:
        """Runs several signatures of one model on the same examples."""
        return self._calls.answer(context, request, self._multi_inference)

    def GetModelMetadata(  # noqa: N802
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Tells the signatures of a model."""
        return self._calls.answer(context, request, self._metadata)

    def _classify(self, request: Any, timeout_ms: int | None) -> Any:
        return self._run(request, "Classify", lambda servable: run_classify(servable, request, timeout_ms))

    def _regress(self, request: Any, timeout_ms: int | None) -> Any:
        return self._run(request, "Regress", lambda servable: run_regress(servable, request, timeout_ms))

    def _run(self, request: Any, method: str, run: Callable[[Servable], Any]) -> Any:
        _require_spec(request)
        with self._core.acquire(request.model_spec) as (version, servable):
            timed = TimedServable(servable, self._calls.metrics, request.model_spec.name, method)
            response = run(cast("Servable", timed))
        _name_version(response.model_spec, request.model_spec.name, version)
        return response

    def _multi_inference(self, request: Any, timeout_ms: int | None) -> Any:
        if not request.tasks:
            raise invalid_argument("Missing ModelSpec")
        _require_spec(request.tasks[0])
        with self._core.acquire(request.tasks[0].model_spec) as (version, servable):
            response = run_multi_inference(servable, request, timeout_ms)
        for result in response.results:
            _name_version(result.model_spec, request.tasks[0].model_spec.name, version)
        return response

    def _metadata(self, request: Any, _timeout_ms: int | None) -> Any:
        _require_spec(request)
        check_fields(request.metadata_field)
        with self._core.acquire(request.model_spec) as (version, servable):
            response = describe(servable)
        _name_version(response.model_spec, request.model_spec.name, version)
        return response


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """``tensorflow.serving.ModelService``.

    Args:
        core: Holds the models.
        calls: Runs the calls.
    """

    def __init__(self, core: Core, calls: Calls) -> None:
        self._core = core
        self._calls = calls

    def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Tells the states of a model's versions."""
        return self._calls.answer(context, request, lambda request, _: answer_status(self._core, request))

    def HandleReloadConfigRequest(  # noqa: N802
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replaces the configuration."""
        return self._calls.answer(context, request, self._reload)

    def _reload(self, request: Any, _timeout_ms: int | None) -> Any:
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        self._core.reload(parse_config(request.config))
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        for name in sorted(set(request.metric_names)):
            # Nothing is counted under these names; the real server, too, says 0 of a name it does not know.
            response.metric.add(name=name, int64_value_increase=0)
        return response


def _require_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def _name_version(spec: Any, model: str, version: int) -> None:
    spec.name = model
    spec.version.value = version
