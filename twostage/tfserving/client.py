"""The client of a model server: TensorFlow Serving's own, or the embedded one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

import grpc
from numpy.typing import NDArray

from twostage.tfserving import messages
from twostage.tfserving.errors import (
    ModelServerDeadline,
    ModelServerOverloaded,
    ResponseInvalid,
    TensorError,
    from_status,
)
from twostage.tfserving.messages import Message
from twostage.tfserving.model_info import Signature, VersionState, VersionStatus, read_signatures
from twostage.tfserving.predict_wire import encode_request
from twostage.tfserving.tensors import decode

_CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # 1000 candidates of 1000 features pass gRPC's default of 4 MiB; the server's own limit is INT32_MAX.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A connection of this client's own: two clients in a process are two connections.
    ("grpc.use_local_subchannel_pool", 1),
    # A restarted server is found again within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Whoever calls decides about a second try: it knows what time is left.
    ("grpc.enable_retries", 0),
)


class ModelServerClient:
    """Calls one model server over one persistent connection; safe to use from many threads.

    The connection is made at the first call and made again when it breaks; a call while there is none fails at once.

    Args:
        target: ``host:port``, or ``unix:///path``.
        max_in_flight: Calls of Predict at the same time, 64 by default; one more is refused here, at once. A model
            server computes even what nobody waits for any more, so what is sent to it is bounded.

    Raises:
        ValueError: ``max_in_flight`` is below 1, or the target is empty.
    """

    def __init__(self, target: str, max_in_flight: int = 64) -> None:
        if not target:
            raise ValueError("target: expected host:port or unix:///path, got an empty string")
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight: expected 1 or more, got {max_in_flight}")
        self.target = target
        self.max_in_flight = max_in_flight
        self._slots = threading.Semaphore(max_in_flight)
        self._channel = grpc.insecure_channel(target, options=_CHANNEL_OPTIONS)
        self._predict: Callable[..., Message] = self._channel.unary_unary(
            messages.PREDICT_METHOD, None, messages.PredictResponse.FromString
        )
        self._metadata: Callable[..., Message] = self._channel.unary_unary(
            messages.METADATA_METHOD,
            messages.GetModelMetadataRequest.SerializeToString,
            messages.GetModelMetadataResponse.FromString,
        )
        self._status: Callable[..., Message] = self._channel.unary_unary(
            messages.STATUS_METHOD,
            messages.GetModelStatusRequest.SerializeToString,
            messages.GetModelStatusResponse.FromString,
        )

    def predict(
        self,
        model: str,
        version: int | None,
        inputs: Mapping[str, NDArray[Any]],
        *,
        timeout_seconds: float,
        signature: str = "",
        outputs: Sequence[str] = (),
    ) -> dict[str, NDArray[Any]]:
        """Runs a signature of a model.

        Args:
            model: The model's name.
            version: The version to ask, a bundle's generation; None asks the newest that is available.
            inputs: Arrays by input name. A server never casts: an array of another type than declared is refused.
            timeout_seconds: The time this call may take.
            signature: The signature to run; empty is the model's default.
            outputs: The outputs to return; empty returns all.

        Returns:
            Arrays by output name; they may be read-only.

        Raises:
            TensorError: An array cannot be sent.
            ModelServerError: The subclass says what happened; see ``twostage.tfserving.errors``.
        """
        if not self._slots.acquire(blocking=False):
            raise ModelServerOverloaded(f"{self.max_in_flight} calls to {self.target} are in flight already")
        try:
            request = encode_request(model, version, inputs, signature=signature, outputs=outputs)
            response = self._call(self._predict, request, timeout_seconds)
        finally:
            self._slots.release()
        outputs_by_name = {}
        for name, tensor in response.outputs.items():
            try:
                outputs_by_name[name] = decode(tensor)
            except TensorError as error:
                raise ResponseInvalid(f"output {name!r}: {error}") from error
        return outputs_by_name

    def model_status(self, model: str, version: int | None, timeout_seconds: float) -> dict[int, VersionStatus]:
        """Asks in which state versions of a model are.

        Args:
            model: The model's name.
            version: The version to ask about; None asks about all that the server knows of.
            timeout_seconds: The time this call may take.

        Returns:
            The state by version, newest first. Versions that ended stay listed while the server lives.

        Raises:
            ModelNotFound: The server tracks no such model or version.
            ModelServerError: Anything else.
        """
        request = messages.GetModelStatusRequest(model_spec=_spec(model, version))
        response = self._call(self._status, request, timeout_seconds)
        return {
            one.version: VersionStatus(VersionState(one.state), one.status.error_code, one.status.error_message)
            for one in response.model_version_status
        }

    def metadata(self, model: str, version: int | None, timeout_seconds: float) -> dict[str, Signature]:
        """Asks for a model's signatures.

        Args:
            model: The model's name.
            version: The version to ask; None asks the newest that is available.
            timeout_seconds: The time this call may take.

        Returns:
            The signatures by name.

        Raises:
            ModelNotFound: The server holds no such model at this version.
            ModelServerError: Anything else.
        """
        request = messages.GetModelMetadataRequest(model_spec=_spec(model, version), metadata_field=["signature_def"])
        response = self._call(self._metadata, request, timeout_seconds)
        try:
            return read_signatures(response)
        except TensorError as error:
            raise ResponseInvalid(str(error)) from error

    def close(self) -> None:
        """Closes the connection; calls in flight are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Callable[..., Message], request: Any, timeout_seconds: float) -> Message:
        if timeout_seconds <= 0:
            raise ModelServerDeadline(f"no time left for a call to {self.target}: {timeout_seconds:.3f} s")
        try:
            return method(request, timeout=timeout_seconds)
        except grpc.RpcError as error:
            # Every error of a blocking call is a call too; the base class does not say so.
            call = cast("grpc.Call", error)
            raise from_status(call.code(), call.details() or "") from error


def _spec(model: str, version: int | None) -> Message:
    spec = messages.ModelSpec(name=model)
    if version is not None:
        spec.version.SetInParent()
        spec.version.value = version
    return spec
