"""Asks any model server by raw messages."""

from __future__ import annotations

from typing import Any

import grpc

from twostage.tfserving import messages

_PACKAGE = "tensorflow.serving"


def _prediction(name: str, message: str | None = None) -> tuple[str, str, str]:
    message = message or name
    return f"/{_PACKAGE}.PredictionService/{name}", f"{_PACKAGE}.{message}Request", f"{_PACKAGE}.{message}Response"


_METHODS = {
    "Predict": _prediction("Predict"),
    "Classify": _prediction("Classify", "Classification"),
    "Regress": _prediction("Regress", "Regression"),
    "MultiInference": _prediction("MultiInference"),
    "GetModelMetadata": _prediction("GetModelMetadata"),
    "GetModelStatus": (
        f"/{_PACKAGE}.ModelService/GetModelStatus",
        f"{_PACKAGE}.GetModelStatusRequest",
        f"{_PACKAGE}.GetModelStatusResponse",
    ),
    "HandleReloadConfigRequest": (
        f"/{_PACKAGE}.ModelService/HandleReloadConfigRequest",
        f"{_PACKAGE}.ReloadConfigRequest",
        f"{_PACKAGE}.ReloadConfigResponse",
    ),
}
STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


class Caller:
    """Gives back status and message of a call, whatever they are.

    Args:
        address: ``host:port``, or ``unix://path``.
    """

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(
            address,
            options=[("grpc.max_receive_message_length", -1), ("grpc.initial_reconnect_backoff_ms", 50)],
        )

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

    def ask_raw(self, path: str, content: bytes, timeout_seconds: float = 30) -> tuple[str, bytes]:
        """Sends bytes as they are.

        Returns:
            The code's name and the bytes of the response.
        """
        call = self._channel.unary_unary(path, lambda sent: sent, lambda received: received)
        try:
            return "OK", call(content, timeout=timeout_seconds)
        except grpc.RpcError as error:
            return error.code().name, b""

    def states(self, model: str) -> dict[int, str]:
        """The state of each version of a model, the highest first; empty for one that is not known."""
        request = self.request("GetModelStatus")
        request.model_spec.name = model
        _, _, response = self.ask("GetModelStatus", request)
        if response is None:
            return {}
        return {one.version: STATES[one.state] for one in response.model_version_status}

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()
