"""The process: from flags to a listening server and back."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from model_server.config import read_config
from model_server.core import Core
from model_server.errors import ServingError
from model_server.flags import Flags
from model_server.lifecycle import Lifecycle
from model_server.servable import Servable
from model_server.service import ModelServicer, PredictionServicer
from model_server.warmup import warm_up

_LOG = logging.getLogger(__name__)
_OPTIONS: tuple[tuple[str, int], ...] = (
    # The real server takes what gRPC can carry; Python's default is 4 MiB.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Feature matrices arrive in few frames instead of one for each 16 KiB.
    ("grpc.http2.max_frame_size", 1 << 20),
    # Two servers on one port are a mistake that should show.
    ("grpc.so_reuseport", 0),
)
GRACE_SECONDS = 30.0


class StartError(Exception):
    """The server cannot start; the message is one line for the user."""


def serve(flags: Flags, stop: threading.Event) -> None:
    """Loads the models, listens, and returns after ``stop`` is set and the calls in flight have ended.

    Raises:
        StartError: A bad configuration, an address that was taken meanwhile, or a model that cannot be loaded.
    """
    session_config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=flags.tensorflow_intra_op_parallelism,
        inter_op_parallelism_threads=flags.tensorflow_inter_op_parallelism,
    )

    def load(path: Path) -> Servable:
        servable = Servable(path, session_config)
        if flags.enable_model_warmup:
            try:
                warm_up(servable)
            except BaseException:
                servable.close()
                raise
        return servable

    lifecycle = Lifecycle(
        load,
        load_threads=max(1, flags.num_load_threads),
        unload_threads=max(1, flags.num_unload_threads),
        retry_count=flags.max_num_load_retries,
        retry_interval_seconds=flags.load_retry_interval_micros / 1e6,
    )
    core = Core(
        lifecycle,
        poll_seconds=flags.file_system_poll_wait_seconds,
        allow_unavailable_labels=flags.allow_version_labels_for_unavailable_models,
    )

    def pass_on_stop() -> None:
        stop.wait()
        core.request_stop()

    threading.Thread(target=pass_on_stop, name="stop", daemon=True).start()
    try:
        if core.start(read_config(flags)):
            _listen(flags, core, stop)
    except ServingError as error:
        raise StartError(str(error)) from error
    finally:
        core.stop()


def _listen(flags: Flags, core: Core, stop: threading.Event) -> None:
    server = grpc.server(
        ThreadPoolExecutor(flags.grpc_max_threads, thread_name_prefix="grpc"),
        options=_OPTIONS,
        maximum_concurrent_rpcs=flags.grpc_max_threads,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionServicer(core, as_content=flags.enable_serialization_as_tensor_content), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(core), server)
    address = f"{flags.host}:{flags.port}"
    try:
        port = server.add_insecure_port(address)
        if flags.grpc_socket_path:
            server.add_insecure_port(f"unix://{Path(flags.grpc_socket_path).absolute()}")
    except RuntimeError as error:
        raise StartError(f"cannot listen on {address} {flags.grpc_socket_path}".rstrip()) from error
    server.start()
    _LOG.info("serving on %s:%d", flags.host, port)
    stop.wait()
    _LOG.info("stopping; calls in flight have %.0f s to end", GRACE_SECONDS)
    server.stop(GRACE_SECONDS).wait()
