"""What a process used, read from /proc (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process since it started."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_megabytes(pid: int, beyond: Path) -> float:
    """Resident memory (MB, 10^6 bytes) without the pages that map files below ``beyond``."""
    total = 0
    mapped = 0
    inside = False
    root = str(beyond.resolve())
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        first = line.split(maxsplit=1)[0]
        if not first.endswith(":"):
            inside = root in line
        elif first == "Rss:":
            kilobytes = int(line.split()[1])
            total += kilobytes
            mapped += kilobytes if inside else 0
    return (total - mapped) * 1024 / 1e6
