"""Holds an answer to what a case expects of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf import json_format

from tests.contract.tfserving.caller import Caller
from twostage.tfserving import messages

_LISTS = ("float_val", "double_val", "int_val", "int64_val", "bool_val", "half_val", "string_val")


def check(caller: Caller, case: dict[str, Any]) -> None:
    """Asks and compares the code, the beginning of the message, the model_spec and every output.

    Args:
        caller: Asks the server.
        case: ``rpc``, ``request``, ``code``, and what is expected: ``message``, or ``response``, or ``versions`` of a
            status, or of Predict ``version``, ``signature`` and ``outputs``.
    """
    request = json_format.ParseDict(case["request"], caller.request(case["rpc"]))
    code, message, response = caller.ask(case["rpc"], request)
    assert code == case["code"], message
    if code != "OK":
        assert message.startswith(case["message"])
    elif "response" in case:
        assert as_dict(response) == case["response"]
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


def as_dict(response: Any) -> dict[str, Any]:
    """A message as JSON has it, with the field names of the proto."""
    given: dict[str, Any] = json_format.MessageToDict(response, preserving_proto_field_name=True)
    return given


def _values(tensor: Any) -> list[Any]:
    """Reads a typed list, without the code under test."""
    assert not tensor.tensor_content
    filled = [list(getattr(tensor, name)) for name in _LISTS if getattr(tensor, name)]
    assert len(filled) <= 1
    values: list[Any] = filled[0] if filled else []
    if messages.data_type_name(tensor.dtype) == "DT_HALF":
        return list(np.array(values, np.uint16).view(np.float16).astype(float))
    return [value.decode() if isinstance(value, bytes) else value for value in values]
