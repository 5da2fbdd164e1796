"""Starts embedded model servers from a process that holds TensorFlow's library already, which saves time for each.

Each line of standard input is a JSON object with the server's ``arguments``, and the files for its output (``log``)
and, when it has ended, its exit code (``exit``); the answer is a line with its process id. Servers end with this
process.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from pathlib import Path

# What the server itself would set before it loads TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from model_server.tensorflow_package import leave_out_python
from twostage.rpc.environment import prefer_grpc_polling

prefer_grpc_polling()
leave_out_python()

import model_server.server  # noqa: E402, F401  - only to have it in memory
from model_server.__main__ import main  # noqa: E402


def _run(arguments: list[str], log: str) -> int:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.close(0)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    code = 1
    try:
        code = main(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Nothing of the parent's is to be cleaned up here.
        os._exit(code)


def _start(request: dict[str, object], exits: dict[int, str]) -> int:
    process_id = os.fork()
    if process_id == 0:
        arguments, log = request["arguments"], request["log"]
        assert isinstance(arguments, list)
        _run(arguments, str(log))
    exits[process_id] = str(request["exit"])
    return process_id


def _reap(exits: dict[int, str]) -> None:
    while exits:
        process_id, status = os.waitpid(-1, os.WNOHANG)
        if process_id == 0:
            return
        path = exits.pop(process_id)
        new = Path(f"{path}.new")
        new.write_text(str(os.waitstatus_to_exitcode(status)))
        new.replace(path)


def serve() -> None:
    """Starts what is asked for until standard input ends."""
    exits: dict[int, str] = {}
    pending = b""
    try:
        while True:
            _reap(exits)
            if not select.select([0], [], [], 0.02)[0]:
                continue
            received = os.read(0, 65536)
            if not received:
                return
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                print(_start(json.loads(line), exits), flush=True)  # noqa: T201  - the answer
    finally:
        for process_id in exits:
            os.kill(process_id, signal.SIGKILL)


if __name__ == "__main__":
    serve()
