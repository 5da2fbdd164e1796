"""Waiting for the model server to hold what a generation needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from structlog.typing import FilteringBoundLogger

from twostage.tfserving.client import ModelServerClient
from twostage.tfserving.errors import ModelServerError, ModelServerUnavailable
from twostage.tfserving.model_info import VersionState

_POLL_SECONDS = 0.05
# Idle reminders, so that an operator who looks at the log later sees it, too.
_REMIND_SECONDS = 10.0
_STATUS_TIMEOUT_SECONDS = 2.0


class ModelUnavailable(Exception):
    """The model server does not come to hold a model; the message is one clear line."""


def wait_for_models(
    client: ModelServerClient,
    models: Iterable[str],
    version: int,
    wait_seconds: float,
    logger: FilteringBoundLogger,
    tell: Callable[[str], None] = lambda _: None,
    require_wanted: Callable[[], None] = lambda: None,
    deadline: float | None = None,
) -> None:
    """Returns once every model is AVAILABLE at a version.

    Args:
        client: The model server.
        models: The models' names.
        version: The version, which is the generation.
        wait_seconds: How long to wait for all of them together; it is asked at least once.
        logger: Is told what is waited for: at once, whenever that changes, and every ten seconds.
        tell: Is told the same, e.g. to show it in a status.
        require_wanted: Called again and again; what it raises ends the waiting.
        deadline: By ``time.monotonic()``, when the waiting ends where several share one wait; a whole one when None.

    Raises:
        ModelUnavailable: The time is over, or the server says that it failed to load a model.
    """
    if deadline is None:
        deadline = time.monotonic() + wait_seconds
    for model in dict.fromkeys(models):
        told = ""
        remind = 0.0
        while (missing := _missing(client, model, version)) is not None:
            require_wanted()
            now = time.monotonic()
            if now >= deadline:
                raise ModelUnavailable(
                    f"{missing}; waited {wait_seconds:g} s (model_server_wait_seconds) for it to be AVAILABLE"
                )
            if missing != told or now >= remind:
                logger.info("waiting for the model server", waiting_for=missing)
                tell(missing)
                told, remind = missing, now + _REMIND_SECONDS
            time.sleep(min(_POLL_SECONDS, max(deadline - now, 0.0)))


def _missing(client: ModelServerClient, model: str, version: int) -> str | None:
    """None when the model is there, else what is the matter."""
    wanted = f"model server at {client.target}: model {model} version {version}"
    try:
        status = client.model_status(model, version, _STATUS_TIMEOUT_SECONDS).get(version)
    except ModelServerUnavailable as error:
        return f"model server at {client.target} does not answer: {error.message}"
    except ModelServerError as error:
        return f"{wanted} is not there: {error}"
    if status is None:
        return f"{wanted} is not there"
    if status.state is VersionState.AVAILABLE:
        return None
    if status.state is VersionState.END and status.error_code:
        # The server does not try again by itself, so waiting would be in vain.
        raise ModelUnavailable(f"{wanted} failed to load: {status.error_message}")
    return f"{wanted} is {status.state.name}"
