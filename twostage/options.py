"""Options that commands share, online and offline."""

from __future__ import annotations

from pathlib import Path

import click

store_option = click.option(
    "--store",
    "store_path",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    envvar="TWOSTAGE_STORE",
    show_envvar=True,
    help="The store's folder.",
)
