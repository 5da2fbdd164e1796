"""What a process used, read from /proc (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process since it started."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def descendants(pid: int) -> list[int]:
    """A process and all that it and its children started and that still live."""
    found = [pid]
    for each in found:
        for thread in _threads(each):
            try:
                children = (thread / "children").read_text(encoding="utf-8").split()
            except OSError:
                continue  # it ended meanwhile
            found += [int(child) for child in children]
    return found


def command_line(pid: int) -> list[str]:
    """A process's arguments, as it may have rewritten them; none once it has ended."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [part for part in text.split("\0") if part]


def tree_cpu_seconds(pid: int) -> float:
    """The processor time of a process and of all its living descendants."""
    total = 0.0
    for each in descendants(pid):
        try:
            total += cpu_seconds(each)
        except OSError:
            continue  # it ended meanwhile
    return total


def _threads(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


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
