"""Options that commands share, online and offline."""

from __future__ import annotations

from pathlib import Path

import click

from twostage.bundle.errors import LocationUnsupported
from twostage.bundle.location import check_path, check_url, is_url


def read_location(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Path | str | None:
    """A store's location as twostage.bundle.open_store takes it: a folder as a Path, a URL as text.

    Raises:
        click.BadParameter: It can be no store.
    """
    if value is None:
        return None
    try:
        if is_url(value):
            return check_url(value)
        path = check_path(Path(value))
    except LocationUnsupported as error:
        raise click.BadParameter(str(error)) from error
    if path.is_file():
        raise click.BadParameter(f"{value!r}: expected a folder, found a file")
    return path


store_option = click.option(
    "--store",
    "store_path",
    metavar="FOLDER|URL",
    callback=read_location,
    required=True,
    envvar="TWOSTAGE_STORE",
    show_envvar=True,
    help="The store's folder, or its URL, as s3://bucket/prefix.",
)
"""For commands that work on a store: a ``Path`` or the text of a URL, for twostage.bundle.open_store."""
