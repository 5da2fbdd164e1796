"""The client of a model server: TensorFlow Serving's own, or the embedded one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, cast

import grpc
from numpy.typing import NDArray

from twostage.rpc.tracing import current
from twostage.tfserving import messages
from twostage.tfserving.errors import (
    ModelServerDeadline,
    ModelServerError,
    ModelServerOverloaded,
    ResponseInvalid,
    TensorError,
    WrongVersion,
    from_status,
)
from twostage.tfserving.in_flight import InFlight
from twostage.tfserving.messages import Message
from twostage.tfserving.model_info import Signature, VersionState, VersionStatus, read_signatures
from twostage.tfserving.predict_wire import encode_request
from twostage.tfserving.reconnection import Reconnection, is_connection_failure, was_never_sent
from twostage.tfserving.tensors import decode

_CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # 1000 candidates of 1000 features pass gRPC's default of 4 MiB; the server's own limit is INT32_MAX.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A connection of this client's own: two clients in a process are two connections.
    ("grpc.use_local_subchannel_pool", 1),
    # A restarted server is found again within a quarter of a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 250),
    # How long an attempt may take, whatever gRPC calls it: a server that is busy starting accepts late.
    ("grpc.min_reconnect_backoff_ms", 5000),
    # Whoever calls decides about a second try: it knows what time is left.
    ("grpc.enable_retries", 0),
)


_PREDICT = messages.PREDICT_METHOD.removeprefix("/")
# A server that was heard within this time and is gone is being restarted, which takes seconds.
_PATIENCE_SECONDS = 10.0
# Of the time left, for a server that comes back; the rest is for the call, and for telling that it did not.
_WAITED_SHARE = 0.8


class CallWatcher(Protocol):
    """Is told of calls of Predict."""

    def call_began(self) -> None:
        """A call is sent."""

    def call_ended(self, outcome: str) -> None:
        """A call that was sent ended: ``answered``, ``late`` or ``failed``."""

    def call_refused(self) -> None:
        """A call was not sent, because too many are in flight."""


class ModelServerClient:
    """Calls one model server over one persistent connection; safe to use from many threads.

    The connection is made at the first call and made again when it breaks. A call of Predict whose connection breaks,
    or cannot be made although the server answered within the last ten seconds, waits for a new one while there is time
    and is sent once more: Predict changes nothing, and a server that is restarted in time costs no call. A server that
    has been away for longer fails calls at once. Nothing else is sent twice: what is late or refused for want of
    capacity would only add to the work.

    Args:
        target: ``host:port``, or ``unix:///path``.
        max_in_flight: Calls of Predict at the same time, 64 by default; one more is refused here, at once. A model
            server computes even what nobody waits for any more, so calls that ended in time count on until it can be
            done with them; see ``twostage.tfserving.in_flight``.
        watcher: Told of calls of Predict; nobody is when None.

    Raises:
        ValueError: ``max_in_flight`` is below 1, or the target is empty.
    """

    def __init__(self, target: str, max_in_flight: int = 64, watcher: CallWatcher | None = None) -> None:
        if not target:
            raise ValueError("target: expected host:port or unix:///path, got an empty string")
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight: expected 1 or more, got {max_in_flight}")
        self.target = target
        self.max_in_flight = max_in_flight
        self._watcher = watcher
        self._in_flight = InFlight(max_in_flight)
        self._channel = grpc.insecure_channel(target, options=_CHANNEL_OPTIONS)
        self._reconnection = Reconnection(self._channel, _PATIENCE_SECONDS)
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
            WrongVersion: The answer is another version's than was asked.
            ModelServerError: The subclass says what happened; see ``twostage.tfserving.errors``.
        """
        deadline = time.monotonic() + timeout_seconds
        request = encode_request(model, version, inputs, signature=signature, outputs=outputs)
        # Signatures of one model differ in what they take.
        response = self._predict_twice(f"{model}/{signature}", request, deadline)
        _check_version(response, model, version)
        outputs_by_name = {}
        for name, tensor in response.outputs.items():
            try:
                outputs_by_name[name] = decode(tensor)
            except TensorError as error:
                raise ResponseInvalid(f"output {name!r}: {error}") from error
        return outputs_by_name

    @property
    def abandoned_count(self) -> int:
        """How many calls that ended in time may still occupy the server."""
        return self._in_flight.abandoned_count

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

    def _predict_twice(self, work: str, request: bytes, deadline: float) -> Message:
        """Sends a request, and once more when the connection broke and there is one again in time."""
        may_send, attempt = 2, "first"
        while True:
            try:
                return self._predict_once(work, request, deadline, attempt)
            except _ConnectionLost as lost:
                may_send, attempt = may_send - lost.may_be_sent, "retry"
                left = deadline - time.monotonic()
                if not may_send or left <= 0 or not self._reconnection.wait(left * _WAITED_SHARE):
                    raise lost.failure from None

    def _predict_once(self, work: str, request: bytes, deadline: float, attempt: str) -> Message:
        timeout_seconds = deadline - time.monotonic()
        if timeout_seconds <= 0:
            raise self._no_time(timeout_seconds)
        watcher = self._watcher
        sent = self._in_flight.enter()
        if sent is None:
            if watcher is not None:
                watcher.call_refused()
            raise ModelServerOverloaded(f"{self.max_in_flight} calls to {self.target} are in flight already")
        if watcher is None:
            return self._send(work, request, sent, timeout_seconds, attempt)
        watcher.call_began()
        outcome = "failed"
        try:
            response = self._send(work, request, sent, timeout_seconds, attempt)
            outcome = "answered"
        except ModelServerDeadline:
            outcome = "late"
            raise
        finally:
            watcher.call_ended(outcome)
        return response

    def _send(self, work: str, request: bytes, sent: float, timeout_seconds: float, attempt: str) -> Message:
        traced = current.current()
        span = None if traced is None else traced.call(_PREDICT, self.target, attempt)
        try:
            response = self._predict(request, timeout=timeout_seconds, metadata=None if span is None else span.metadata)
        except grpc.RpcError as error:
            call = cast("grpc.Call", error)
            if span is not None:
                span.end(call.code())
            if is_connection_failure(call):
                self._in_flight.broken()
                raise _ConnectionLost(_failure(error), was_never_sent(call)) from error
            if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._in_flight.abandoned(work, sent)
            else:
                self._in_flight.refused()
            raise _failure(error) from error
        except BaseException:
            # The channel was closed meanwhile, or the process is being stopped.
            self._in_flight.refused()
            raise
        if span is not None:
            span.end(grpc.StatusCode.OK)
        self._in_flight.answered(work, sent)
        self._reconnection.heard()
        return response

    def _call(self, method: Callable[..., Message], request: Any, timeout_seconds: float) -> Message:
        if timeout_seconds <= 0:
            raise self._no_time(timeout_seconds)
        try:
            return method(request, timeout=timeout_seconds)
        except grpc.RpcError as error:
            raise _failure(error) from error

    def _no_time(self, timeout_seconds: float) -> ModelServerDeadline:
        return ModelServerDeadline(f"no time left for a call to {self.target}: {timeout_seconds:.3f} s")


class _ConnectionLost(Exception):
    """The connection broke or could not be made.

    Args:
        failure: What the caller is told when there is no second try.
        never_sent: True when the server cannot have seen the request.
    """

    def __init__(self, failure: ModelServerError, never_sent: bool) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.may_be_sent = not never_sent


def _failure(error: grpc.RpcError) -> ModelServerError:
    # Every error of a blocking call is a call too; the base class does not say so.
    call = cast("grpc.Call", error)
    return from_status(call.code(), call.details() or "")


def _check_version(response: Message, model: str, version: int | None) -> None:
    """Refuses what another model or version answered, e.g. behind a proxy or when a label moved.

    Raises:
        WrongVersion: It did.
    """
    spec = response.model_spec
    if spec.name != model or (version is not None and spec.version.value != version):
        asked = f"model {model!r} version {version if version is not None else 'newest'}"
        raise WrongVersion(
            f"expected an answer of {asked}, got one of model {spec.name!r} version {spec.version.value}"
        )


def _spec(model: str, version: int | None) -> Message:
    spec = messages.ModelSpec(name=model)
    if version is not None:
        spec.version.SetInParent()
        spec.version.value = version
    return spec
