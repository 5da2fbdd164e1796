"""Recorded answers of the real server: reading them, and saying how an answer differs from one."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import json_format

from tests.contract.tfserving.answers import as_dict
from tests.contract.tfserving.caller import Caller
from twostage.tfserving import messages

Timeline = list[dict[int, str]]
_SHORTENED_TO = 8


@dataclass(frozen=True)
class Recording:
    """The recorded cases.

    Args:
        folder: Holds ``cases.jsonl`` and ``models``.
        cases: By their ids, in the order of recording.
    """

    folder: Path
    cases: dict[str, dict[str, Any]]

    @property
    def models(self) -> Path:
        """The models that were asked."""
        return self.folder / "models"


def read_recording(folder: Path) -> Recording:
    """Reads all cases."""
    lines = (folder / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    return Recording(folder, {case["id"]: case for case in cases})


def placed(value: Any, run: Path, models: Path) -> Any:
    """Puts this run's folders in the places of those of the recording."""
    text = json.dumps(value)
    return json.loads(text.replace("<run>", str(run)).replace("<models>", str(models)))


def difference_of_call(caller: Caller, case: dict[str, Any], timeout_seconds: float = 60) -> str:
    """Asks again and says how the answer differs; empty when it does not."""
    request = json_format.ParseDict(case["request"] or {}, caller.request(case["rpc"]))
    return difference(case, caller.ask(case["rpc"], request, timeout_seconds))


def stable_prefix(message: str) -> str:
    """What does not depend on the names that a graph's functions and nodes happen to have."""
    return message.split("\n\t [[{{", maxsplit=1)[0]


def difference(case: dict[str, Any], answer: tuple[str, str, Any]) -> str:
    """Says how an answer differs from the recorded one; empty when it does not."""
    code, message, response = answer
    if code != case["grpc_code"]:
        return f"{code} {message!r}, expected {case['grpc_code']} {case['grpc_message']!r}"
    if code != "OK":
        matches = message.startswith(stable_prefix(case["grpc_message"]))
        return "" if matches else f"{message!r}, expected {case['grpc_message']!r}"
    expected = case["response"]
    if case["rpc"] == "Predict":
        return _spec_difference(expected, response) or _outputs_difference(case, response)
    if case["rpc"] == "GetModelMetadata":
        packed = response.metadata["signature_def"]
        signatures = as_dict(messages.SignatureDefMap.FromString(packed.value))
        recorded = {key: value for key, value in expected["metadata"]["signature_def"].items() if key != "@type"}
        return _spec_difference(expected, response) or ("" if signatures == recorded else f"{signatures}")
    if case["rpc"] == "GetModelStatus":
        given = as_dict(response)
        return "" if _bare_status(given) == _bare_status(expected) else f"{given}, expected {expected}"
    given = as_dict(response)
    return "" if given == expected else f"{given}, expected {expected}"


def difference_of_order(recorded: Timeline, given: Timeline) -> str:
    """Says how a sequence of states differs: in its beginning, its end, or in what came before what.

    States that a look may miss, and how long each lasted, are not compared.
    """
    if given[0] != recorded[0] or given[-1] != recorded[-1]:
        return f"from {given[0]} to {given[-1]}, expected from {recorded[0]} to {recorded[-1]}"
    order = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
    for version in given[-1]:
        states = [order.index(one[version]) for one in given if version in one]
        if states != sorted(states):
            return f"version {version} went through {states}"
    decisive = {
        (version, state)
        for version, state in recorded[-1].items()
        if recorded[0].get(version) != state and state in ("AVAILABLE", "END")
    }
    for first in decisive:
        for second in decisive:
            if _reached(recorded, first) < _reached(recorded, second) and _reached(given, first) > _reached(
                given, second
            ):
                return f"{first} after {second}"
    return ""


def _reached(timeline: Timeline, event: tuple[int, str]) -> int:
    return next(i for i, one in enumerate(timeline) if one.get(event[0]) == event[1])


def _bare_status(status: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (
            one["version"],
            one["state"],
            one["status"].get("error_code", "OK"),
            stable_prefix(one["status"].get("error_message", "")),
        )
        for one in status["model_version_status"]
    ]


def _spec_difference(expected: dict[str, Any], response: Any) -> str:
    given = as_dict(response.model_spec)
    return "" if given == expected["model_spec"] else f"model_spec {given}, expected {expected['model_spec']}"


def _outputs_difference(case: dict[str, Any], response: Any) -> str:
    expected = case["response_tensors"]
    if response.outputs.keys() != expected.keys():
        return f"outputs {sorted(response.outputs)}, expected {sorted(expected)}"
    for name, recorded in expected.items():
        tensor = response.outputs[name]
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        filled = {field.name for field, _ in tensor.ListFields()} - {"dtype", "tensor_shape"}
        if messages.data_type_name(tensor.dtype) != recorded["dtype"] or shape != recorded["shape"]:
            return f"{name}: {messages.data_type_name(tensor.dtype)} {shape}"
        if filled != set(recorded["encoding"]):
            return f"{name}: filled {filled}, expected {recorded['encoding']}"
        if not filled:
            continue
        field = filled.pop()
        if field == "tensor_content":
            same = tensor.tensor_content == base64.b64decode(case["response"]["outputs"][name]["tensor_content"])
        elif str(recorded["values"]).endswith(" values>"):
            # Shortened in the recording: the first ones are there.
            values = [one for one in case["response"]["outputs"][name][field] if not isinstance(one, str)]
            same = _same_values(tensor, field, values)
        else:
            same = _same_values(tensor, field, recorded["values"])
        if not same:
            return f"{name}: other values than {recorded.get('values')}"
    return ""


def _same_values(tensor: Any, field: str, values: Any) -> bool:
    """Compares the values of a typed list with as many as there are recorded."""
    dtype = messages.data_type_name(tensor.dtype)
    expected = np.array(values, object if field == "string_val" else float).reshape(-1)
    listed: Any = list(getattr(tensor, field))
    if field == "string_val":
        return [value.decode() for value in listed] == expected.tolist()
    if field == "half_val":
        bits = np.array(listed, np.uint16)
        listed = (bits.astype(np.uint32) << 16).view(np.float32) if dtype == "DT_BFLOAT16" else bits.view(np.float16)
    given = np.array(listed, float)
    if len(given) != len(expected) and len(expected) != _SHORTENED_TO:
        return False
    return bool(np.allclose(given[: len(expected)], expected, rtol=1e-5, atol=1e-6))
