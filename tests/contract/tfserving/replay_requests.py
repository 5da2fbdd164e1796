"""Setups A and X: requests to a server that does not change."""

from __future__ import annotations

import base64
import time
from typing import Any

import grpc
import numpy as np
from google.protobuf import json_format
from numpy.typing import NDArray

from tests.contract.tfserving.caller import Caller
from tests.contract.tfserving.recorded import difference
from tests.contract.tfserving.replay import Replay, model
from tests.contract.tfserving.server_process import Server
from twostage.tfserving import messages, tensors

_LABELS = "--allow_version_labels_for_unavailable_models=true"
_NOT_IN_A = {"slowb", "defs"}
_HALF_IN_A = (
    "model_version_policy { specific { versions: 1 versions: 2 } }"
    ' version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
)
_HEALTH = "/grpc.health.v1.Health/Check"


def replay_requests(replay: Replay) -> None:
    """Setup A: every call."""
    models = replay.recording.models
    entries = [
        model(one.name, models / one.name, _HALF_IN_A if one.name == "half" else "")
        for one in sorted(models.iterdir())
        if one.name not in _NOT_IN_A
    ]
    with replay.listening(replay.config("A.config", *entries), _LABELS) as (_, caller):
        for name, case in replay.recording.cases.items():
            if name.startswith("wire."):
                code, content = caller.ask_raw(case["rpc"], base64.b64decode(case["request"]["raw_b64"]))
                expected = case["response"]["raw_b64"] if case["response"] else ""
                same = _same_predict_response(content, base64.b64decode(expected)) if code == "OK" else not expected
                replay.found(name, "" if code == case["grpc_code"] and same else f"{code}, {content!r}")
            elif name == "predict.enc.large_response":
                _ask_ranker(replay, caller, name, np.arange(2000, dtype=np.float32).reshape(500, 4) / np.float32(7))
            elif name == "size.16MB_request":
                _ask_ranker(replay, caller, name, np.ones((1_000_000, 4), np.float32), "scores")
            elif case["setup"] == "A" or case["setup"].startswith("A ("):
                replay.ask(caller, name)


def _same_predict_response(given: bytes, expected: bytes) -> bool:
    # Fields of a map may come in any order.
    return bool(messages.PredictResponse.FromString(given) == messages.PredictResponse.FromString(expected))


def _ask_ranker(replay: Replay, caller: Caller, name: str, items: NDArray[np.float32], *outputs: str) -> None:
    """Asks for what the recording shortened: the notes say, or the beginning shows, what the rest is."""
    case = replay.case(name)
    shortened = case["request"]["inputs"]["items"]["tensor_content"].partition("...<")[0]
    assert base64.b64encode(items.tobytes()).decode().startswith(shortened[: len(shortened) // 4 * 4])
    request = caller.request("Predict")
    request.model_spec.name = "ranker"
    json_format.ParseDict(case["request"]["inputs"]["user"], request.inputs["user"])
    request.inputs["items"].CopyFrom(tensors.encode(items))
    request.output_filter.extend(outputs)
    replay.found(name, difference(case, caller.ask("Predict", request, 60)))


def replay_flags(replay: Replay) -> None:
    """Setup X1: content in answers, health, method names; every model under the default policy."""
    models = replay.recording.models
    entries = [model(one.name, models / one.name) for one in sorted(models.iterdir())]
    flags = (
        "--enable_serialization_as_tensor_content=true",
        "--enable_grpc_healthcheck_service=true",
        "--enable_signature_method_name_check=true",
    )
    with replay.listening(replay.config("X1.config", *entries), *flags) as (_, caller):
        for name, case in replay.recording.cases.items():
            if name.startswith("health."):
                service = case["request"]["service"].encode()
                request = bytes([10, len(service)]) + service if service else b""
                code, content = caller.ask_raw(_HEALTH, request)
                same = code == case["grpc_code"] and (code != "OK" or content == b"\x08\x01")
                replay.found(name, "" if same else f"{code} {content!r}")
            elif case["setup"].startswith("X1"):
                replay.ask(caller, name)


def replay_defaults(replay: Replay) -> None:
    """Setups X2 and X4: default flags, deadlines, cancellation, the client's own limit."""
    models = replay.recording.models
    entries = [model(one.name, models / one.name) for one in sorted(models.iterdir())]
    with replay.listening(replay.config("X2.config", *entries)) as (server, caller):
        for name, case in replay.recording.cases.items():
            if name.startswith("defaults."):
                replay.ask(caller, name)
            elif name == "order.over_restarts":
                replay.found(name, _order_of_checks(caller, case["misnamed"], case["dtypes"]))
        steps = _steps_for(caller, seconds=3.0)
        replay.found("deadline.short", _deadline(caller, steps))
        replay.found("deadline.server_side", _deadline_on_the_server(server, caller, steps))
        replay.found("cancel.server_side", _cancelled(server, steps))
        replay.found("size.client_limit", _client_limit(server))


def _order_of_checks(caller: Caller, misnamed: list[list[str]], dtypes: list[list[str]]) -> str:
    request = caller.request("Predict")
    request.model_spec.name = "ranker"
    for name in "iu":
        request.inputs[name].CopyFrom(tensors.encode(np.ones((1, 4), np.float32)))
    _, message, _ = caller.ask("Predict", request)
    if message not in [text for text, _ in misnamed]:
        return message
    request.ClearField("inputs")
    for name in ("items", "user"):
        request.inputs[name].CopyFrom(tensors.encode(np.ones((1, 4), np.int32)))
    _, message, _ = caller.ask("Predict", request)
    return "" if message in [text for text, _ in dtypes] else message


def slow_request(caller: Caller, steps: int) -> Any:
    """A request that takes as long as its number of steps says."""
    request = caller.request("Predict")
    request.model_spec.name = "slow"
    request.inputs["n"].CopyFrom(tensors.encode(np.array(steps, np.int32)))
    return request


def _steps_for(caller: Caller, seconds: float) -> int:
    caller.ask("Predict", slow_request(caller, 10))
    begin = time.monotonic()
    code, message, _ = caller.ask("Predict", slow_request(caller, 5000))
    assert code == "OK", message
    return int(5000 / (time.monotonic() - begin) * seconds)


def _deadline(caller: Caller, steps: int) -> str:
    code, message, _ = caller.ask("Predict", slow_request(caller, steps), timeout_seconds=0.5)
    return "" if code == "DEADLINE_EXCEEDED" else f"{code} {message}"


def _deadline_on_the_server(server: Server, caller: Caller, steps: int) -> str:
    caller.ask("Predict", slow_request(caller, steps), timeout_seconds=0.5)
    time.sleep(0.2)
    before = server.cpu_seconds
    time.sleep(1.0)
    used = server.cpu_seconds - before
    return "" if used < 0.3 else f"{used} s of processor time in the second after the deadline"


def _cancelled(server: Server, steps: int) -> str:
    """A cancelled call computes on: as recorded, processor time is used after it."""
    channel = grpc.insecure_channel(server.address)
    call = channel.unary_unary(
        messages.PREDICT_METHOD,
        messages.PredictRequest.SerializeToString,
        messages.PredictResponse.FromString,
    )
    asking = Caller(server.address)
    future = call.future(slow_request(asking, steps), timeout=60)
    time.sleep(0.5)
    future.cancel()
    time.sleep(0.2)
    before = server.cpu_seconds
    end = time.monotonic() + 5
    while (used := server.cpu_seconds - before) < 0.1 and time.monotonic() < end:
        time.sleep(0.05)
    asking.close()
    channel.close()
    return "" if used >= 0.1 else f"{used} s of processor time after the cancellation"


def _client_limit(server: Server) -> str:
    channel = grpc.insecure_channel(server.address)
    call = channel.unary_unary(
        messages.PREDICT_METHOD,
        messages.PredictRequest.SerializeToString,
        messages.PredictResponse.FromString,
    )
    request = messages.PredictRequest()
    request.model_spec.name = "ranker"
    request.inputs["user"].CopyFrom(tensors.encode(np.array([[1, 2, 3, 4]], np.float32)))
    request.inputs["items"].CopyFrom(tensors.encode(np.ones((1_000_000, 4), np.float32)))
    try:
        call(request, timeout=60)
    except grpc.RpcError as error:
        return "" if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else f"{error.code()} {error.details()}"
    finally:
        channel.close()
    return "answered"
