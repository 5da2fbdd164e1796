"""The embedded server beside recorded answers of TensorFlow Serving 2.20.0, on the very models that were asked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format

from tests.contract.tfserving.embedded import Caller, running
from twostage.tfserving import messages

pytestmark = pytest.mark.data

# X2 serves the model with a default input under the same flags.
_SETUP = ("A", "A2", "A (same config as setup A)", "X2: default flags, all models")
_RPCS = ("Predict", "GetModelMetadata", "GetModelStatus", "Classify", "Regress", "MultiInference")
_UNSERVED = {"slowb"}

# Where the embedded server answers otherwise, and why that is right or harmless.
_KNOWN_DIFFERENCES: dict[str, str] = {}


@pytest.fixture(scope="module")
def recorded() -> Path:
    root = os.environ.get("TWOSTAGE_TEST_DATA")
    if not root or not (Path(root) / "tfserving-transcripts").is_dir():
        pytest.skip("needs tfserving-transcripts in the directory that TWOSTAGE_TEST_DATA names")
    return Path(root).absolute() / "tfserving-transcripts"


@pytest.fixture(scope="module")
def setup_a(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """Every recorded model in one config, as the recording's setup A says."""
    folder = tmp_path_factory.mktemp("transcripts")
    entries = []
    for model in sorted((recorded / "models").iterdir()):
        if model.name in _UNSERVED:
            continue
        special = ""
        if model.name == "half":
            special = (
                "model_version_policy { specific { versions: 1 versions: 2 } }"
                ' version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
            )
        entries.append(f'config {{ name: "{model.name}" base_path: "{model}" model_platform: "tensorflow" {special} }}')
    config = folder / "models.config"
    config.write_text("model_config_list {\n" + "\n".join(entries) + "\n}\n")
    flags = [f"--model_config_file={config}", "--allow_version_labels_for_unavailable_models=true"]
    with running(flags, folder / "log") as process:
        caller = Caller(process.address())
        yield caller
        caller.close()


def _cases(recorded: Path) -> list[dict[str, Any]]:
    lines = (recorded / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        case
        for case in map(json.loads, lines)
        if case["setup"] in _SETUP
        and case["rpc"] in _RPCS
        and case["authoritative"]
        and not case.get("nondeterministic")
        and "...<" not in json.dumps(case["request"])  # shortened in the recording: cannot be asked again
    ]


def _stable_prefix(message: str) -> str:
    """What does not depend on the names that a graph's functions and nodes happen to have."""
    return message.split("\n\t [[{{", maxsplit=1)[0]


def _difference(case: dict[str, Any], answer: tuple[str, str, Any]) -> str:
    """Says how an answer differs from the recorded one; empty when it does not."""
    code, message, response = answer
    if code != case["grpc_code"]:
        return f"{code} {message!r}, expected {case['grpc_code']} {case['grpc_message']!r}"
    if code != "OK":
        return (
            ""
            if message.startswith(_stable_prefix(case["grpc_message"]))
            else f"{message!r}, expected {case['grpc_message']!r}"
        )
    expected = case["response"]
    if case["rpc"] == "Predict":
        return _spec_difference(expected, response) or _outputs_difference(case["response_tensors"], response)
    if case["rpc"] == "GetModelMetadata":
        packed = response.metadata["signature_def"]
        signatures = json_format.MessageToDict(
            messages.SignatureDefMap.FromString(packed.value), preserving_proto_field_name=True
        )
        recorded = {key: value for key, value in expected["metadata"]["signature_def"].items() if key != "@type"}
        return _spec_difference(expected, response) or ("" if signatures == recorded else f"{signatures}")
    given = json_format.MessageToDict(response, preserving_proto_field_name=True)
    return "" if given == expected else f"{given}, expected {expected}"


def _spec_difference(expected: dict[str, Any], response: Any) -> str:
    given = json_format.MessageToDict(response.model_spec, preserving_proto_field_name=True)
    return "" if given == expected["model_spec"] else f"model_spec {given}, expected {expected['model_spec']}"


def _outputs_difference(expected: dict[str, Any], response: Any) -> str:
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
        values = recorded["values"]
        if filled and "...<" not in json.dumps(values) and not _same_values(tensor, filled.pop(), values):
            return f"{name}: other values than {values}"
    return ""


def _same_values(tensor: Any, field: str, values: Any) -> bool:
    given = list(getattr(tensor, field))
    if field == "string_val":
        return [value.decode() for value in given] == np.array(values, object).reshape(-1).tolist()
    if field == "half_val":
        bits = np.array(given, np.uint16)
        if messages.data_type_name(tensor.dtype) == "DT_BFLOAT16":
            given = (bits.astype(np.uint32) << 16).view(np.float32).tolist()
        else:
            given = bits.view(np.float16).tolist()
    return bool(np.allclose(np.array(given, float), np.array(values, float).reshape(-1), rtol=1e-5, atol=1e-6))


def test_recorded_answers_are_given_again(recorded: Path, setup_a: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    differences = {}
    cases = _cases(recorded)
    for case in cases:
        request = setup_a.request(case["rpc"])
        json_format.ParseDict(case["request"], request)
        difference = _difference(case, setup_a.ask(case["rpc"], request))
        if difference:
            differences[case["id"]] = difference
    with capsys.disabled():
        print(f"\nrecorded answers given again: {len(cases) - len(differences)} of {len(cases)}")  # noqa: T201
        for name in differences:
            print(f"  differs: {name}: {_KNOWN_DIFFERENCES.get(name, 'UNEXPECTED')}")  # noqa: T201
    unexpected = {name: text for name, text in differences.items() if name not in _KNOWN_DIFFERENCES}
    assert not unexpected
    assert len(cases) >= 90
    # A difference that is gone must leave the list.
    assert differences.keys() == _KNOWN_DIFFERENCES.keys()
