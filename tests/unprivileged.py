"""Programs that may read a folder and not write to it, whoever runs the tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

_PROLOGUE = """
import ctypes, os
if os.geteuid() == 0:
    # Permissions do not bind the superuser with this capability; of a Linux process all are dropped.
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    assert ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()) == 0, ctypes.get_errno()
"""


def run_unprivileged(script: str, folder: Path, *arguments: str) -> None:
    """Runs a Python program with a copy of ``folder`` that it may not write to as its first argument."""
    parent = Path(tempfile.mkdtemp(prefix="unwritable-"))
    copy = parent / folder.name
    try:
        shutil.copytree(folder, copy)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        command = [sys.executable, "-c", _PROLOGUE + textwrap.dedent(script), str(copy), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    finally:
        for path in [copy, *copy.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(parent)
