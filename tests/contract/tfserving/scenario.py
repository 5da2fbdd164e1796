"""Plays a scenario: a server over a disk that changes, told as data in ``scenarios.json``."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

from tests.contract.tfserving.caller import STATES, Caller
from tests.contract.tfserving.server_process import Server
from tests.contract.tfserving.warmup_file import frame, predict_record

_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.02
_INPUTS = {
    "a": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": 1}, {"size": 4}]}, "float_val": [1]},
    "b": {"dtype": "DT_INT64", "tensor_shape": {"dim": [{"size": 1}]}, "int64_val": [0]},
}


def fill(value: Any, root: Path) -> Any:
    """Puts the scenario's folder in the place of ``{root}``, in every string of a JSON value."""
    return json.loads(json.dumps(value).replace("{root}", str(root)))


class Disk:
    """The folder that a scenario changes.

    Args:
        root: The folder.
        models: Where the suite's models are.
    """

    def __init__(self, root: Path, models: Path) -> None:
        self._root = root
        self._models = models
        self._aside = root / ".aside"

    def publish(self, name: str, model: str) -> None:
        """Copies a model's version aside and renames it to its place, as a publisher should."""
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self._models / model, self._aside)
        self._aside.rename(target)

    def publish_warmed(self, name: str, model: str, warmup: Any) -> None:
        """Like ``publish``, with requests to run before it is available.

        Args:
            name: Where to.
            model: Which version.
            warmup: Requests; ``{"times", "requests"}`` for many of them; or text that is no record file.
        """
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self._models / model, self._aside)
        file = self._aside / "assets.extra" / "tf_serving_warmup_requests"
        file.parent.mkdir(exist_ok=True)
        if isinstance(warmup, str):
            file.write_text(warmup)
        else:
            times, requests = (warmup["times"], warmup["requests"]) if isinstance(warmup, dict) else (1, warmup)
            file.write_bytes(b"".join(frame(predict_record(request)) for request in requests) * times)
        self._aside.rename(target)

    def remove(self, name: str) -> None:
        """Deletes a folder or a file."""
        path = self._root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def folder(self, name: str) -> None:
        """Makes an empty folder."""
        (self._root / name).mkdir(parents=True)

    def file(self, name: str) -> None:
        """Makes a file."""
        (self._root / name).write_text("a file")

    def cut(self, name: str) -> None:
        """Cuts a file in half."""
        path = self._root / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    def move(self, name: str, target: str) -> None:
        """Renames a folder."""
        (self._root / name).rename(self._root / target)


class Player:
    """Carries out the steps of a scenario.

    Args:
        server: The server that is played with.
        root: The folder that it serves from.
        models: Where the suite's models are.
    """

    def __init__(self, server: Server, root: Path, models: Path) -> None:
        self._server = server
        self._root = root
        self._disk = Disk(root, models)
        self._caller = Caller(server.address)

    def close(self) -> None:
        """Ends the connection."""
        self._caller.close()

    def play(self, step: dict[str, Any]) -> None:
        """Carries out one step: its kind is its first key, what it takes is that key's value."""
        kind, given = next(iter(fill(step, self._root).items()))
        on_disk: Callable[..., None] | None = getattr(self._disk, kind, None)
        if on_disk is not None:
            on_disk(*(given if isinstance(given, list) else [given]))
        else:
            getattr(self, f"_{kind}")(given)

    def _reach(self, states: dict[str, dict[str, str]]) -> None:
        """Waits until models have exactly these versions in these states; END may carry an error."""
        end = time.monotonic() + _TIMEOUT_SECONDS
        while (held := self._states(states)) != states:
            assert time.monotonic() < end, f"{held}, expected {states}\n{self._server.output}"
            time.sleep(_POLL_SECONDS)

    def _stays(self, states: dict[str, dict[str, str]]) -> None:
        """Looks for longer than a poll of the disk takes that nothing changes."""
        end = time.monotonic() + 1.6
        while time.monotonic() < end:
            assert self._states(states) == states
            time.sleep(_POLL_SECONDS * 5)

    def _states(self, models: dict[str, Any]) -> dict[str, dict[str, str]]:
        return {
            model: {str(version): state for version, state in self._caller.states(model).items()} for model in models
        }

    def _error(self, expected: dict[str, Any]) -> None:
        request = json_format.ParseDict(
            {"model_spec": {"name": expected["model"], "version": expected["version"]}},
            self._caller.request("GetModelStatus"),
        )
        code, message, response = self._caller.ask("GetModelStatus", request)
        assert code == "OK", message
        (one,) = response.model_version_status
        assert STATES[one.state] == "END"
        assert one.status.error_message.startswith(expected["message"])
        assert one.status.error_code == grpc.StatusCode[expected["code"]].value[0]

    def _predict(self, case: dict[str, Any]) -> None:
        request = json_format.ParseDict(
            {"model_spec": case["spec"], "inputs": _INPUTS}, self._caller.request("Predict")
        )
        code, message, response = self._caller.ask("Predict", request)
        if "version" in case:
            assert code == "OK", message
            # y is b plus the version that was exported, wherever it was put.
            answered = response.model_spec.version.value, response.outputs["y"].int64_val[0]
            assert answered == (case["version"], case.get("weights", case["version"]))
        else:
            assert (code, message[: len(case["message"])]) == (case["code"], case["message"])

    def _reload(self, case: dict[str, Any]) -> None:
        models = [{"model_platform": "tensorflow", **model} for model in case["models"]]
        request = json_format.ParseDict(
            {"config": {"model_config_list": {"config": models}}}, self._caller.request("HandleReloadConfigRequest")
        )
        code, message, response = self._caller.ask("HandleReloadConfigRequest", request)
        assert code == case.get("code", "OK"), message
        if code == "OK":
            assert response.HasField("status")
            assert response.status.error_code == 0
        else:
            assert message.startswith(case["message"])

    def _listening(self, expected: bool) -> None:
        if expected:
            self._server.require_listening()
            return
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            assert not self._server.listening
            assert self._server.process.exit_code() is None, self._server.output
            time.sleep(_POLL_SECONDS * 5)

    def _ends(self, expected: dict[str, Any]) -> None:
        assert self._server.wait() == expected.get("exit", 255), self._server.output
        last = self._server.output[self._server.output.rindex("Failed to start server") :]
        assert last.startswith(f"Failed to start server. Error: {expected['error']}")

    def _exits(self, code: int) -> None:
        assert self._server.wait() == code, self._server.output

    def _refuses(self, flag: str) -> None:
        """The server ends at once, and names the flag that it does not take."""
        assert self._server.wait() == 255
        assert flag in self._server.output.splitlines()[-1]
