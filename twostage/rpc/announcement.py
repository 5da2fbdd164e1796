"""The line by which a parent process learns that a server serves, and where."""

from __future__ import annotations

import json
import os
import sys

from structlog.typing import FilteringBoundLogger


def announcement(service: str, address: str, metrics_address: str | None) -> str:
    """One JSON object.

    Args:
        service: The service's short name, e.g. ``ranking``.
        address: Where it serves, ``host:port``.
        metrics_address: Where ``/metrics`` is, or None when it is off.
    """
    return json.dumps(
        {
            "event": "serving",
            "service": service,
            "address": address,
            "metrics_address": metrics_address,
            "pid": os.getpid(),
        }
    )


def is_announcement(line: str) -> bool:
    """Says whether a line of a server's standard output is its announcement."""
    if not line.startswith("{") or '"serving"' not in line:
        return False
    try:
        document = json.loads(line)
    except ValueError:
        return False
    return isinstance(document, dict) and document.get("event") == "serving"


def announce(line: str, logger: FilteringBoundLogger) -> None:
    """Writes a line to standard output, for whoever started this process."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError as error:
        # Whoever started us has closed the pipe; that is no reason not to serve.
        logger.warning("nobody reads standard output", error=str(error))
