"""``python -m tests.contract.kubernetes.image_sizes``: the Dockerfiles' install steps, without an engine.

For every image: what its first stage copies is copied, its extras are installed into a clean environment as it installs
them, its programs are started there, and what was installed is measured. The base image is not part of that.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from tests.contract.kubernetes.dockerfiles import (
    IMAGES,
    OWN_IMAGES,
    SERVING_IMAGES,
    Instruction,
    default_command,
    extras,
    instructions,
)

_SERVERS = {
    "twostage/gateway": ("gateway.server", "gateway.http.server", "twostage.commands.sync"),
    "twostage/retrieval": ("retrieval_service.server", "twostage.commands.sync"),
    "twostage/ranking": ("ranking_service.server", "twostage.commands.sync"),
    "twostage/training": ("training.train", "training.publish"),
    "twostage/load": ("locust", "twostage.load.open_loop"),
}
"""What is loaded beside the command itself, whose ``--help`` loads no libraries."""


class StepFailed(Exception):
    """A step of a Dockerfile does not work; the message is the end of what it said."""


@dataclass(frozen=True)
class Installed:
    """What an image's environment holds.

    Args:
        image: Which.
        extras: The project's extras.
        size_bytes: Of all its files.
        package_count: Distributions in it.
        seconds: How long the install took.
    """

    image: str
    extras: Sequence[str]
    size_bytes: int
    package_count: int
    seconds: float


def install(image: str, folder: Path) -> Installed:
    """Does an image's install steps in a folder, and starts its programs.

    Args:
        image: One of ours.
        folder: An empty one.

    Raises:
        StepFailed: A step does not work, a program does not start, or TensorFlow is where it should not be.
    """
    found = instructions(image)
    source, environment = folder / "src", folder / "environment"
    source.mkdir()
    _copy(first_stage(found), source)
    python = environment / "bin" / "python"
    _run([sys.executable, "-m", "venv", "--without-pip", str(environment)])
    started = time.monotonic()
    wanted = sorted(extras(list(found)))
    options = ["--disable-pip-version-check", "--quiet", "--compile", "--no-warn-script-location"]
    where = f"{source}[{','.join(wanted)}]"
    _run([sys.executable, "-m", "pip", "--python", str(python), "install", *options, where])
    seconds = time.monotonic() - started
    modules = ", ".join(_SERVERS[image])
    _run([str(python), "-c", f"import {modules}"], folder)
    entry, words = default_command(image)
    command = [*entry, *words]
    program = str(environment / "bin" / command[0])
    _run([program, *command[1:], *([] if "--help" in command else ["--help"])], folder)
    if image in SERVING_IMAGES:
        look = "import importlib.util as u; raise SystemExit(any(map(u.find_spec, ('tensorflow', 'keras'))))"
        _run([str(python), "-c", look], folder)
    size = sum(file.lstat().st_size for file in environment.rglob("*") if file.is_file() and not file.is_symlink())
    packages = len(list(environment.glob("lib/python*/site-packages/*.dist-info")))
    return Installed(image, wanted, size, packages, seconds)


def first_stage(found: Sequence[Instruction]) -> list[Instruction]:
    """The instructions before the second FROM."""
    places = [place for place, (word, _) in enumerate(found) if word == "FROM"]
    return list(found[: places[1]]) if len(places) > 1 else list(found)


def _copy(stage: Sequence[Instruction], target: Path) -> None:
    for word, rest in stage:
        if word != "COPY" or "--from=" in rest:
            continue
        *names, where = [part for part in rest.split() if not part.startswith("--")]
        for name in names:
            origin = IMAGES.parent / name
            if not origin.exists():
                raise StepFailed(f"COPY {name}: there is none")
            if origin.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(origin, target / where, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy(origin, target / (where if not where.endswith("/") else name))


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    # Not in the checkout, where Python would find our rooms without their being installed.
    done = subprocess.run(
        command, cwd=folder, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())
        raise StepFailed(
            f"{Path(command[0]).name} {' '.join(command[1:])[:200]}: exit code {done.returncode}: {said[-600:]}"
        )


@click.command()
@click.argument("names", metavar="[IMAGE]...", nargs=-1)
def main(names: Sequence[str]) -> None:
    """Do the install steps of the images, or of those named, e.g. ranking; print a table of what they install."""
    wanted = [image for image in OWN_IMAGES if not names or re.sub(".*/", "", image) in names]
    if len(wanted) < len(names):
        raise click.UsageError(f"expected images among {', '.join(OWN_IMAGES)}, received {' '.join(names)}")
    click.echo("| image | extras | installed | packages |\n|---|---|---|---|")
    failed = False
    for image in wanted:
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = install(image, Path(folder))
            except StepFailed as error:
                click.echo(f"{image}: {error}", err=True)
                failed = True
                continue
        size = f"{found.size_bytes / 1e6:,.0f} MB"
        click.echo(f"| {image} | {', '.join(found.extras)} | {size} | {found.package_count} |")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
