"""The floor, measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}


def measure_floor(store_path: Path, repeat_count: int) -> dict[str, dict[str, float]]:
    """Runs `benchmarks.floor`.

    Args:
        store_path: The store.
        repeat_count: How often each part is called.

    Returns:
        ``wall_ms`` and ``cpu_ms`` of ``user_tower``, ``index``, ``ranker`` and ``whole``.

    Raises:
        click.ClickException: It failed.
    """
    command = [sys.executable, "-m", "benchmarks.floor", str(store_path), str(repeat_count)]
    done = subprocess.run(command, env={**os.environ, **_ONE_THREAD}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"the floor failed: {done.stderr.strip().splitlines()[-1:]}")
    figures: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return figures
