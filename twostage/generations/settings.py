"""Settings that every service which follows a store has."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field


def _as_text(value: object) -> object:
    # A folder may come as a path; a URL must not become one, for that drops a slash.
    return str(value) if isinstance(value, Path) else value


StoreLocation = Annotated[str | Path, BeforeValidator(_as_text), Field(min_length=1)]
"""A store's folder or URL, as twostage.bundle.open_store reads it; text, though a path may be given."""

PollSeconds = Annotated[float, Field(ge=0, le=3600)]
"""Between two looks at CURRENT; 0 looks never."""


def _read_wait(value: object) -> object:
    return math.inf if value == "forever" else value


def _require_wait(seconds: float) -> float:
    if math.isnan(seconds):
        raise ValueError("a number of seconds from 0 on, or forever")
    return seconds


StoreWaitSeconds = Annotated[float, BeforeValidator(_read_wait), AfterValidator(_require_wait), Field(ge=0)]
"""How long a service that can serve no generation waits for one, not ready; then it ends. ``forever`` is infinity."""
