"""``python -m model_server``: flags and port first, so that a mistake shows before TensorFlow is loaded."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from types import FrameType

from model_server.flags import FlagError, parse_flags
from model_server.port import PortTakenError, require_free_port
from twostage.rpc.allocator import tune_allocator
from twostage.rpc.environment import prefer_grpc_polling


def main(arguments: list[str]) -> int:
    """Runs the server until SIGTERM or SIGINT.

    Returns:
        0 after a stop that was asked for, 1 when the server could not start.
    """
    try:
        flags = parse_flags(arguments)
        require_free_port(flags)
    except (FlagError, PortTakenError) as error:
        sys.stderr.write(f"Failed to start server. Error: {error}\n")
        return 1
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    # TensorFlow reads these when it is imported: errors only, no search for accelerators this server does not use.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)

    tune_allocator()
    prefer_grpc_polling()
    from model_server.server import StartError, serve  # noqa: PLC0415  - imports TensorFlow, after the flags are known

    try:
        serve(flags, stop)
    except StartError as error:
        sys.stderr.write(f"Failed to start server. Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
