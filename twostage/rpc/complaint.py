"""Why a service does not run, in one line; apart from the server because the supervisor of workers loads no gRPC."""

from __future__ import annotations

import sys

from twostage.errors import NotReady

DEFECTS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError)
"""Errors that say nothing without their traceback."""


def complain(service: str, error: Exception) -> None:
    """Writes on one line of standard error why a service does not run.

    Args:
        service: Its short name, e.g. ``ranking``.
        error: What kept it.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, NotReady) and error.detail:
        # Whoever starts a service operates it.
        text = f"{text} ({' '.join(error.detail.split())})"
    if isinstance(error, DEFECTS):
        text = f"{type(error).__name__}: {text}"
    sys.stderr.write(f"{service}: error: {text}\n")
    sys.stderr.flush()
