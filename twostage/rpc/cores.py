"""How many cores this process may use: its affinity and the quota of its control groups.

``os.cpu_count`` counts the machine's. A pod with a limit of two cores on a node of 64 sees all of them, is given two by
the quota, and would be throttled most of the time with 64 busy processes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_GROUPS = Path("/proc/self/cgroup")
_MOUNTS = Path("/proc/self/mountinfo")


def usable_core_count(groups: Path = _GROUPS, mounts: Path = _MOUNTS) -> int:
    """Counts the cores that this process may keep busy; at least 1.

    The least of its scheduling affinity and the CPU quotas of its control group and of every group above it (cgroup
    versions 1 and 2; see the kernel's documentation, admin-guide/cgroup-v2, ``cpu.max``). A part of a core counts as
    one: what is left over goes to the threads that search outside the interpreter's lock.

    Args:
        groups: The list of this process's control groups.
        mounts: The list of what is mounted where.
    """
    # Not everywhere: macOS knows no affinity.
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(_quotas(groups, mounts), default=math.inf)
    return max(1, affinity if math.isinf(quota) else min(affinity, math.ceil(quota)))


def _quotas(groups: Path, mounts: Path) -> Iterator[float]:
    """The quotas that hold for this process, in cores."""
    try:
        own = _own_groups(groups)
        mounted = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return  # no Linux, or nothing that we may read: then nobody tells us of a limit
    for fields in mounted:
        kind, _, options = fields[fields.index("-") + 1 :][:3]
        if kind == "cgroup2" and "" in own:
            folders, read = _folders(fields[3], fields[4], own[""]), _quota_v2
        elif kind == "cgroup" and "cpu" in options.split(",") and "cpu" in own:
            folders, read = _folders(fields[3], fields[4], own["cpu"]), _quota_v1
        else:
            continue
        for folder in folders:
            try:
                quota = read(folder)
            except (OSError, ValueError):
                continue  # the root group has no such files
            if quota is not None:
                yield quota


def _own_groups(groups: Path) -> dict[str, str]:
    """This process's group by controller; by the empty name in the unified hierarchy of version 2."""
    own = {}
    for line in groups.read_text(encoding="utf-8").splitlines():
        _, controllers, group = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), group))
    return own


def _folders(root: str, mount: str, group: str) -> list[Path]:
    """The folders of a group and of those above it, as far as they are visible below the mount.

    Args:
        root: The group that is mounted: ``/``, or the container's own where its host's tree is not shown.
        mount: Where.
        group: The process's group. In a container it may be named as the host sees it.
    """
    path = PurePosixPath(group)
    inside = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
    return [Path(mount, *inside.parts[:depth]) for depth in range(len(inside.parts), -1, -1)]


def _quota_v2(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float | None:
    quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
    period = int((folder / "cpu.cfs_period_us").read_text(encoding="utf-8"))
    return None if quota <= 0 else quota / period
