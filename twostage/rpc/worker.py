"""One of several processes that serve one port: what its parent told it, and what it tells its parent.

A worker loads before it listens. The kernel hands connections to every process that listens on the port, so one that
still loads would be given connections that it can only refuse.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from dataclasses import dataclass

_VARIABLE = "TWOSTAGE_WORKER"
_PREPARED = {"event": "prepared"}
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Worker:
    """What a worker knows of itself.

    Args:
        number: Its number among its fellows, from 1; a worker that is started again keeps it.
        parent: The process id of the parent that looks after it.
    """

    number: int
    parent: int

    @classmethod
    def current(cls) -> Worker | None:
        """The worker that this process is; None when it serves on its own."""
        text = os.environ.get(_VARIABLE)
        if not text:
            return None
        number, parent = text.split("/")
        return cls(int(number), int(parent))

    def environment(self) -> dict[str, str]:
        """The variables by which the parent makes a process this worker."""
        return {_VARIABLE: f"{self.number}/{self.parent}"}

    def end_with_parent(self) -> None:
        """Asks the kernel for SIGTERM when the parent is gone; see prctl(2), PR_SET_PDEATHSIG."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != self.parent:
            # It went before we asked.
            os.kill(os.getpid(), signal.SIGTERM)

    def wait_for_start(self) -> None:
        """Tells the parent that everything is loaded, and waits until all workers are to listen.

        They begin together, or else the clients that wait for the port would all be given to the first.
        """
        sys.stdout.write(json.dumps(_PREPARED) + "\n")
        sys.stdout.flush()
        # Standard input is a pipe that all workers share and nobody writes to; the parent closes it.
        while os.read(0, 1):
            pass


def is_prepared_line(line: str) -> bool:
    """Says whether a worker's line of output means that it has loaded."""
    return line == json.dumps(_PREPARED)
