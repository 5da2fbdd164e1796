"""``python -m model_server``: flags and addresses first, so that a mistake shows before TensorFlow is loaded."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from importlib.metadata import version

from model_server.flags import FlagError, Flags, parse_flags
from model_server.port import require_free_addresses
from model_server.tensorflow_package import leave_out_python
from twostage.rpc.address import AddressUnavailable
from twostage.rpc.allocator import tune_allocator
from twostage.rpc.environment import prefer_grpc_polling
from twostage.rpc.signals import StopSignals

# The real server's, which returns -1.
_REFUSED = 255


def main(arguments: list[str]) -> int:
    """Runs the server until SIGTERM or SIGINT; the first lets calls in flight finish, a second one cuts them off.

    Returns:
        0 after a stop that was asked for, 255 when the server could not start.
    """
    try:
        flags = parse_flags(arguments)
        if flags.version:
            sys.stdout.write(
                f"TensorFlow ModelServer: embedded, of twostage {version('twostage')}\n"
                f"TensorFlow Library: {version('tensorflow')}\n"
            )
            return 0
        require_free_addresses(flags)
    except (FlagError, AddressUnavailable) as error:
        return _refuse(error)
    with StopSignals() as signals:
        stop, hurry = threading.Event(), threading.Event()

        def pass_on_signals() -> None:
            # A start that fails takes the signals away from under the wait.
            with suppress(OSError):
                for event in (stop, hurry):
                    signals.wait()
                    event.set()

        threading.Thread(target=pass_on_signals, name="signals", daemon=True).start()
        return _run(flags, stop, hurry)


def _run(flags: Flags, stop: threading.Event, hurry: threading.Event) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    # TensorFlow reads these when it is loaded: errors only, no search for accelerators this server does not use.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    tune_allocator()
    prefer_grpc_polling()
    try:
        # Both import gRPC, which reads what was set above; files are read before TensorFlow is loaded.
        from model_server.text_config import read_metrics_path  # noqa: PLC0415
        from model_server.tls import read_credentials  # noqa: PLC0415

        credentials = read_credentials(flags.ssl_config_file) if flags.ssl_config_file else None
        metrics_path = read_metrics_path(flags.monitoring_config_file) if flags.monitoring_config_file else None
    except FlagError as error:
        return _refuse(error)
    leave_out_python()
    from model_server.server import StartError, serve  # noqa: PLC0415  - loads TensorFlow, after the flags are known

    try:
        cut_off_count = serve(flags, stop, hurry, credentials=credentials, metrics_path=metrics_path)
    except StartError as error:
        return _refuse(error)
    if cut_off_count:
        # Graphs that still run cannot be stopped, and TensorFlow does not survive being torn down beneath them.
        logging.getLogger(__name__).warning("%d calls or loads did not end in time and are cut off", cut_off_count)
        logging.shutdown()
        os._exit(0)
    return 0


def _refuse(error: Exception) -> int:
    sys.stderr.write(f"Failed to start server. Error: {error}\n")
    return _REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
