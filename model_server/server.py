"""The process: from flags to a listening server and back."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from pathlib import Path

import grpc
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import model_service_pb2_grpc

from model_server.call_threads import CallThreads
from model_server.calls import REFUSING_THREAD_COUNT, Calls
from model_server.config import read_config
from model_server.config_poller import ConfigPoller
from model_server.core import Core
from model_server.errors import ServingError
from model_server.flags import Flags
from model_server.health import ServingHealth
from model_server.http_endpoint import HttpEndpoint
from model_server.lifecycle import Lifecycle
from model_server.metrics import Metrics
from model_server.rest import RestApi
from model_server.servable import Servable
from model_server.service import ModelServicer, PredictionServicer
from model_server.transition import Transition
from model_server.warmup import warm_up
from twostage.rpc.address import AddressUnavailable, join_address

_LOG = logging.getLogger(__name__)
_OPTIONS: tuple[tuple[str, int | str], ...] = (
    # The real server takes what gRPC can carry; Python's default is 4 MiB.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Feature matrices arrive in few frames instead of one for each 16 KiB.
    ("grpc.http2.max_frame_size", 1 << 20),
    # Two servers on one port are a mistake that should show.
    ("grpc.so_reuseport", 0),
)
# Kubernetes kills 30 s after SIGTERM.
GRACE_SECONDS = 25.0
_LOOK_SECONDS = 0.05


class StartError(Exception):
    """The server cannot start; the message is one line for the user."""


def serve(
    flags: Flags,
    stop: threading.Event,
    hurry: threading.Event,
    *,
    credentials: grpc.ServerCredentials | None = None,
    metrics_path: str | None = None,
) -> int:
    """Loads the models, listens, and returns after ``stop`` is set and the calls in flight have ended.

    Args:
        flags: The settings.
        stop: Ends it, in whatever state it is.
        hurry: Cuts off the calls in flight that ``stop`` left.
        credentials: Of the gRPC port; None serves in the clear.
        metrics_path: Where the REST port exposes metrics; None does not.

    Returns:
        How many calls and loads still run: calls that outlived the grace, and loads that nothing can stop.

    Raises:
        StartError: A bad configuration, an address that was taken meanwhile, or a model that cannot be loaded.
    """
    core = Core(
        _make_lifecycle(flags),
        poll_seconds=flags.file_system_poll_wait_seconds,
        allow_unavailable_labels=flags.allow_version_labels_for_unavailable_models,
    )

    def pass_on_stop() -> None:
        stop.wait()
        core.request_stop()

    threading.Thread(target=pass_on_stop, name="stop", daemon=True).start()
    threads = CallThreads(flags.grpc_max_threads + REFUSING_THREAD_COUNT)
    poller = None
    if flags.model_config_file_poll_wait_seconds:
        # Made before the file is read, so that no change is missed while models load.
        poller = ConfigPoller(
            Path(flags.model_config_file),
            flags.model_config_file_poll_wait_seconds,
            lambda: read_config(flags),
            core.reload,
        )
    try:
        if core.start(read_config(flags)):
            _listen(flags, core, threads, (stop, hurry), credentials, metrics_path, poller)
    except (ServingError, AddressUnavailable) as error:
        raise StartError(str(error)) from error
    finally:
        loading_count = core.stop()
    return threads.busy_count + loading_count


def _make_lifecycle(flags: Flags) -> Lifecycle:
    session_config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=flags.intra_op_threads, inter_op_parallelism_threads=flags.inter_op_threads
    )

    def load(path: Path) -> Servable:
        servable = Servable(path, session_config, check_method_names=flags.enable_signature_method_name_check)
        if flags.enable_model_warmup:
            try:
                warm_up(servable, iterations=max(1, flags.num_request_iterations_for_warmup))
            except BaseException:
                servable.close()
                raise
        return servable

    return Lifecycle(
        load,
        load_threads=max(1, flags.num_load_threads),
        unload_threads=max(1, flags.num_unload_threads),
        retry_count=flags.max_num_load_retries,
        retry_interval_seconds=max(0.0, flags.load_retry_interval_micros / 1e6),
        transition=Transition(flags.aspired_version_policy),
    )


def _listen(
    flags: Flags,
    core: Core,
    threads: CallThreads,
    events: tuple[threading.Event, threading.Event],
    credentials: grpc.ServerCredentials | None,
    metrics_path: str | None,
    poller: ConfigPoller | None,
) -> None:
    stop, hurry = events
    calls = Calls(flags.grpc_max_threads, Metrics())
    server = grpc.server(threads, options=(*_OPTIONS, *flags.channel_arguments))
    PredictionServicer(core, calls, as_content=flags.enable_serialization_as_tensor_content).add_to(server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(core, calls), server)
    with ExitStack() as running:
        health = None
        if flags.enable_grpc_healthcheck_service:
            health = ServingHealth()
            health.add_to(server)
            running.callback(health.close)
        addresses = _bind(server, flags, credentials)
        if flags.rest_api_port:
            rest = HttpEndpoint(
                RestApi(core, calls.metrics, metrics_path).answer,
                flags.host,
                flags.rest_api_port,
                thread_count=flags.rest_api_num_threads,
                timeout_seconds=flags.rest_api_timeout_in_ms / 1e3,
            )
            # Probes and metrics are answered until the last call has ended.
            running.callback(rest.close)
            _LOG.info("status, metadata%s on http://%s", "" if metrics_path is None else " and metrics", rest.address)
        if poller is not None:
            poller.start()
            running.callback(poller.stop)
        server.start()
        for address in addresses:
            _LOG.info("serving on %s", address)
        stop.wait()
        _LOG.info("stopping; calls in flight have %.0f s to end", GRACE_SECONDS)
        if health is not None:
            health.drain()
        _drain(server, threads, hurry)


def _drain(server: grpc.Server, threads: CallThreads, hurry: threading.Event) -> None:
    """Takes no new calls and waits for those in flight, but not for streams: who watches health watches for ever."""
    ended = server.stop(GRACE_SECONDS)
    quiet_look_count = 0
    while not ended.wait(_LOOK_SECONDS):
        quiet_look_count = 0 if threads.busy_count else quiet_look_count + 1
        # A thread is done a moment before its answer has left.
        if quiet_look_count > 3 or hurry.is_set():
            server.stop(0)


def _bind(server: grpc.Server, flags: Flags, credentials: grpc.ServerCredentials | None) -> list[str]:
    """Lets the server listen, on TCP unless there is a socket and the port is 0."""

    def add(address: str) -> int:
        try:
            if credentials is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise StartError(f"cannot listen on {address} for gRPC") from error

    addresses = []
    if flags.port or not flags.grpc_socket_path:
        addresses.append(join_address(flags.host, add(join_address(flags.host, flags.port))))
    if flags.grpc_socket_path:
        address = f"unix:{Path(flags.grpc_socket_path).absolute()}"
        add(address)
        addresses.append(address)
    return addresses
