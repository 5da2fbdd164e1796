"""The committed descriptors, and what importing the client costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from twostage.tfserving import build_descriptors
from twostage.tfserving.build_descriptors import DescriptorsNotFoundError, build_descriptor_set, main


def test_the_committed_descriptors_are_those_of_the_installed_wheels() -> None:
    assert main(["--check"]) == 0


def test_a_file_that_differs_fails_the_check_and_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "descriptors.binpb"
    output.write_bytes(b"old")
    monkeypatch.setattr(build_descriptors, "OUTPUT", output)
    assert main(["--check"]) == 1
    assert capsys.readouterr().err == "descriptors.binpb differs from the installed wheels; run `make protos`\n"
    assert output.read_bytes() == b"old"
    assert main([]) == 0
    assert main(["--check"]) == 0


def test_every_file_comes_after_those_it_depends_on() -> None:
    seen: set[str] = set()
    for file in build_descriptor_set().file:
        assert all(name in seen or name.startswith("google/protobuf/") for name in file.dependency)
        seen.add(file.name)
    assert "tensorflow_serving/apis/prediction_service.proto" in seen


def test_a_missing_module_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_descriptors, "SERVICE_FILES", ("tensorflow_serving/apis/nosuch.proto",))
    with pytest.raises(DescriptorsNotFoundError, match=r"nosuch_pb2\.py is in none of the installed packages"):
        build_descriptor_set()


def test_the_client_comes_without_tensorflow_and_at_once() -> None:
    program = """
import json, sys, time
import grpc, numpy
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
begin = time.process_time()
import twostage.tfserving
spent = time.process_time() - begin
print(json.dumps([spent, sorted(name for name in sys.modules if name.startswith(("tensorflow", "keras")))]))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, loaded = json.loads(ran.stdout)
    assert loaded == []
    # 15 to 25 ms on an idle machine, beyond what gRPC and numpy take anyway; TensorFlow takes two seconds and more.
    assert seconds < 0.4
