"""What a model server answers, request by request."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format

from tests.contract.tfserving.embedded import Caller
from twostage.tfserving import messages, tensors

_CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("cases.json").read_text(encoding="utf-8"))
_LISTS = ("float_val", "double_val", "int_val", "int64_val", "bool_val", "half_val", "string_val")


def _values(tensor: Any) -> list[Any]:
    """Reads a typed list, without the code under test."""
    assert not tensor.tensor_content
    filled = [list(getattr(tensor, name)) for name in _LISTS if getattr(tensor, name)]
    assert len(filled) <= 1
    values: list[Any] = filled[0] if filled else []
    if messages.data_type_name(tensor.dtype) == "DT_HALF":
        return list(np.array(values, np.uint16).view(np.float16).astype(float))
    return [value.decode() if isinstance(value, bytes) else value for value in values]


@pytest.mark.parametrize("case", _CASES, ids=[case["id"] for case in _CASES])
def test_answer(caller: Caller, case: dict[str, Any]) -> None:
    request = json_format.ParseDict(case["request"], caller.request(case["rpc"]))
    code, message, response = caller.ask(case["rpc"], request)
    assert code == case["code"], message
    if code != "OK":
        assert message.startswith(case["message"])
    elif case["rpc"] == "GetModelStatus":
        assert [one.version for one in response.model_version_status] == case["versions"]
        assert {one.state for one in response.model_version_status} == {30}
    else:
        spec = response.model_spec
        assert (spec.name, spec.version.value) == (case["request"]["model_spec"]["name"], case["version"])
        assert (spec.signature_name, spec.version_label) == (case["signature"], "")
        assert response.outputs.keys() == case["outputs"].keys()
        for name, expected in case["outputs"].items():
            tensor = response.outputs[name]
            assert messages.data_type_name(tensor.dtype) == expected["dtype"]
            assert [dim.size for dim in tensor.tensor_shape.dim] == expected["shape"]
            assert _values(tensor) == expected["values"]


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
    assert len(message) == 1024


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
