"""Starts the embedded model server as a process of its own, and asks any server by raw messages."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from twostage.tfserving import messages

_METHODS = {
    "Predict": (messages.PREDICT_METHOD, "tensorflow.serving.PredictRequest", "tensorflow.serving.PredictResponse"),
    "GetModelMetadata": (
        messages.METADATA_METHOD,
        "tensorflow.serving.GetModelMetadataRequest",
        "tensorflow.serving.GetModelMetadataResponse",
    ),
    "GetModelStatus": (
        messages.STATUS_METHOD,
        "tensorflow.serving.GetModelStatusRequest",
        "tensorflow.serving.GetModelStatusResponse",
    ),
    "HandleReloadConfigRequest": (
        "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
        "tensorflow.serving.ReloadConfigRequest",
        "tensorflow.serving.ReloadConfigResponse",
    ),
    **{
        name: (
            f"/tensorflow.serving.PredictionService/{name}",
            f"tensorflow.serving.{message}Request",
            f"tensorflow.serving.{message}Response",
        )
        for name, message in (
            ("Classify", "Classification"),
            ("Regress", "Regression"),
            ("MultiInference", "MultiInference"),
        )
    },
}


class Process:
    """A running server.

    Args:
        flags: Its command line.
        log: Where its output goes.
    """

    def __init__(self, flags: list[str], log: Path) -> None:
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "model_server", *flags],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def address(self, timeout_seconds: float = 60) -> str:
        """Waits until the server says where it serves."""
        end = time.monotonic() + timeout_seconds
        while time.monotonic() < end:
            found = re.search(r"serving on (\S+:\d+)", self.output)
            if found:
                return found[1]
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"the server does not serve:\n{self.output}")

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    def wait(self, timeout_seconds: float = 60) -> int:
        return self._process.wait(timeout_seconds)

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(flags: list[str], log: Path) -> Iterator[Process]:
    """Starts a server on a free port, and makes sure that it is gone afterwards."""
    process = Process(["--port=0", *flags], log)
    try:
        yield process
    finally:
        process.end()


class Caller:
    """Asks a server and gives back status and message, whatever they are."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])

    def request(self, rpc: str) -> Any:
        """An empty request of this call."""
        return messages.message_class(_METHODS[rpc][1])()

    def ask(self, rpc: str, request: Any, timeout_seconds: float = 30) -> tuple[str, str, Any]:
        """Gives the code's name, the message, and the response or None."""
        path, _, response_name = _METHODS[rpc]
        call = self._channel.unary_unary(
            path, type(request).SerializeToString, messages.message_class(response_name).FromString
        )
        try:
            return "OK", "", call(request, timeout=timeout_seconds)
        except grpc.RpcError as error:
            return error.code().name, error.details() or "", None

    def close(self) -> None:
        self._channel.close()
