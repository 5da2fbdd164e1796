"""Opening the store that a service's settings name."""

from __future__ import annotations

from pathlib import Path

from twostage.bundle.errors import LocationUnsupported
from twostage.bundle.open_store import open_store
from twostage.bundle.store import Store


def open_settings_store(location: str | Path) -> Store:
    """Opens the store of a setting; nothing is read yet.

    Raises:
        ValueError: The location cannot be opened, which is a wrong setting.
    """
    try:
        return open_store(location)
    except LocationUnsupported as error:
        raise ValueError(f"store: {error}") from error
