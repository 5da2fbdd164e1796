from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from twostage.rpc.cores import usable_core_count


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)


def counted(folder: Path, group: str, mount: str) -> int:
    """What is counted for these lines of /proc/self, with ROOT standing for the folder."""
    (folder / "cgroup").write_text(group, encoding="utf-8")
    (folder / "mountinfo").write_text(mount.replace("ROOT", str(folder)), encoding="utf-8")
    return usable_core_count(folder / "cgroup", folder / "mountinfo")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


V2 = "31 23 0:28 / ROOT/sys rw,relatime shared:4 - cgroup2 cgroup rw\n"
V1 = "32 31 0:29 / ROOT/sys/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1), ("6400000 100000", 8)],
)
def test_a_quota_of_version_2_limits_the_cores_and_a_part_counts_as_one(
    tmp_path: Path, quota: str, expected: int
) -> None:
    write(tmp_path / "sys" / "pod" / "cpu.max", quota)
    assert counted(tmp_path, "0::/pod\n", V2) == expected


def test_the_group_s_parents_limit_it_too(tmp_path: Path) -> None:
    write(tmp_path / "sys" / "pod" / "cpu.max", "300000 100000")
    write(tmp_path / "sys" / "pod" / "container" / "cpu.max", "max 100000")
    assert counted(tmp_path, "0::/pod/container\n", V2) == 3


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("200000", 2), ("20000", 1)])
def test_a_quota_of_version_1_limits_the_cores(tmp_path: Path, quota: str, expected: int) -> None:
    write(tmp_path / "sys" / "cpu" / "pod" / "cpu.cfs_quota_us", quota)
    write(tmp_path / "sys" / "cpu" / "pod" / "cpu.cfs_period_us", "100000")
    assert counted(tmp_path, "4:memory:/other\n3:cpu,cpuacct:/pod\n0::/\n", V1) == expected


def test_a_container_that_sees_its_own_group_alone_finds_its_quota(tmp_path: Path) -> None:
    """The host's path of the group is not below what is mounted, or is the mount's own root."""
    write(tmp_path / "sys" / "cpu.max", "200000 100000")
    mounted = V2.replace(" / ROOT", " /kubepods/pod7 ROOT")
    assert counted(tmp_path, "0::/\n", V2) == 2
    assert counted(tmp_path, "0::/kubepods/pod7\n", mounted) == 2
    assert counted(tmp_path, "0::/../elsewhere\n", mounted) == 2


def test_affinity_limits_what_the_quota_would_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3})
    write(tmp_path / "sys" / "cpu.max", "400000 100000")
    assert counted(tmp_path, "0::/\n", V2) == 1


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_core_count(tmp_path / "none", tmp_path / "none") == 8
    assert counted(tmp_path, "0::/\n", "1 1 0:1 / / rw - ext4 disk rw\n") == 8


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_this_machine_s_own_files_are_understood() -> None:
    assert 1 <= usable_core_count() <= 8
