"""What a model server answers, request by request."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.contract.tfserving.answers import check
from tests.contract.tfserving.caller import Caller
from twostage.tfserving import messages, tensors

_CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("cases.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", _CASES, ids=[case["id"] for case in _CASES])
def test_answer(caller: Caller, case: dict[str, Any]) -> None:
    check(caller, case)


def _predict(caller: Caller, rows: np.ndarray[Any, Any], count: int) -> tuple[str, str, Any]:
    request = caller.request("Predict")
    request.model_spec.name = "m"
    request.inputs["a"].CopyFrom(tensors.encode(rows))
    request.inputs["b"].CopyFrom(tensors.encode(np.arange(count)))
    return caller.ask("Predict", request)


@pytest.mark.parametrize("count", [1, 1000, 524_288], ids=["one row", "1000 rows", "8 MiB in, more than 4 MiB out"])
def test_any_number_of_rows_is_answered(caller: Caller, count: int) -> None:
    rows = np.arange(count * 4, dtype=np.float32).reshape(count, 4)
    code, message, response = _predict(caller, rows, count)
    assert code == "OK", message
    returned = np.array(response.outputs["x"].float_val, np.float32).reshape(count, 4)
    np.testing.assert_array_equal(returned, rows * 2)


def test_a_long_message_is_cut_to_1024_bytes_and_says_so(caller: Caller) -> None:
    request = caller.request("Predict")
    request.model_spec.name = "m" * 2000
    code, message, _ = caller.ask("Predict", request)
    assert code == "NOT_FOUND"
    assert message.startswith("Servable not found for request: Latest(mmm")
    assert message.endswith("...TRUNCATED")
    # The real server cuts at 1024 bytes and says so behind them.
    assert len(message) == 1024 + len("...TRUNCATED")


def test_a_deadline_ends_a_slow_graph(caller: Caller) -> None:
    request = caller.request("Predict")
    request.model_spec.name = "slow"
    request.inputs["n"].CopyFrom(tensors.encode(np.array(100_000_000, np.int32)))
    code, _, _ = caller.ask("Predict", request, timeout_seconds=0.3)
    assert code == "DEADLINE_EXCEEDED"
    # The graph was stopped, too: otherwise it would compute for hours beside what follows.
    request.inputs["n"].CopyFrom(tensors.encode(np.array(3, np.int32)))
    code, message, response = caller.ask("Predict", request)
    assert code == "OK", message
    assert list(response.outputs["n"].int_val) == [3]


def test_metadata_names_every_signature_with_its_types_and_shapes(caller: Caller) -> None:
    request = caller.request("GetModelMetadata")
    request.model_spec.name = "m"
    request.model_spec.version_label = "stable"
    request.metadata_field.append("signature_def")
    code, message, response = caller.ask("GetModelMetadata", request)
    assert code == "OK", message
    assert (response.model_spec.name, response.model_spec.version.value) == ("m", 1)
    packed = response.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = messages.SignatureDefMap.FromString(packed.value).signature_def
    assert {"serving_default", "total"} <= signatures.keys()
    default = signatures["serving_default"]
    assert default.method_name == "tensorflow/serving/predict"
    assert [dim.size for dim in default.inputs["a"].tensor_shape.dim] == [-1, 4]
    assert messages.data_type_name(default.inputs["b"].dtype) == "DT_INT64"
    assert default.outputs.keys() == {"x", "y"}


def test_infinite_numbers_pass_as_they_are(caller: Caller) -> None:
    code, message, response = _predict(caller, np.full((1, 4), np.inf, np.float32), 1)
    assert code == "OK", message
    assert all(math.isinf(value) for value in response.outputs["x"].float_val)


def test_of_a_version_and_a_label_on_the_wire_the_last_counts(caller: Caller) -> None:
    first, last = caller.request("Predict"), caller.request("Predict")
    first.model_spec.name = "m"
    first.model_spec.version.value = 1
    last.model_spec.version_label = "canary"
    for name, values in (("a", np.ones((1, 4), np.float32)), ("b", np.zeros(1, np.int64))):
        first.inputs[name].CopyFrom(tensors.encode(values))
    content = first.SerializeToString() + last.SerializeToString()
    code, answered = caller.ask_raw(messages.PREDICT_METHOD, content)
    assert code == "OK"
    assert messages.PredictResponse.FromString(answered).model_spec.version.value == 2


def test_unknown_fields_are_not_looked_at(caller: Caller) -> None:
    request = caller.request("GetModelStatus")
    request.model_spec.name = "m"
    # Field 127, three bytes.
    code, answered = caller.ask_raw(messages.STATUS_METHOD, request.SerializeToString() + b"\xfa\x07\x03abc")
    assert code == "OK"
    assert [one.version for one in messages.GetModelStatusResponse.FromString(answered).model_version_status] == [2, 1]


@pytest.mark.parametrize(
    "path", ["/tensorflow.serving.PredictionService/Nope", "/tensorflow.serving.SessionService/SessionRun"]
)
def test_a_call_that_is_not_offered_is_unimplemented(caller: Caller, path: str) -> None:
    assert caller.ask_raw(path, b"")[0] == "UNIMPLEMENTED"
