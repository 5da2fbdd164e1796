"""The metrics of several workers and their parent as one: what they counted, and what they use of the machine."""

from __future__ import annotations

import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

_PROC = Path("/proc")
# A file system in memory: what workers count is mapped, and pages that are written back to a disk make writers wait.
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


class ProcessGroupMetrics:
    """What is exposed for workers that serve one port.

    Each worker counts in files of its own, which it maps, so that what one counted outlives it however it ended
    (prometheus_client's multiprocess mode). Beside those sums: ``process_cpu_seconds_total``,
    ``process_resident_memory_bytes`` (a page that several map counts once), ``process_open_fds``,
    ``process_start_time_seconds``, all of the workers and their parent together; ``twostage_workers`` and
    ``twostage_worker_restarts_total``.

    Args:
        worker_count: How many workers there should be.
        living: The process ids of those that run.

    Attributes:
        registry: Everything that is exposed.
        restarts: Counts the workers that were started again.
        reaping: Held by whoever collects the exit code of a worker, whose time on the CPU would otherwise be counted
            twice or not at all.
    """

    def __init__(self, worker_count: int, living: Callable[[], Iterable[int]]) -> None:
        self.registry = CollectorRegistry()
        self.reaping = threading.Lock()
        self.restarts = Counter(
            "twostage_worker_restarts_total", "Workers started again after they ended.", registry=self.registry
        )
        Gauge("twostage_workers", "Processes that should serve the port.", registry=self.registry).set(worker_count)
        self._living = living
        in_memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
        self._folder = tempfile.TemporaryDirectory(prefix="twostage-metrics-", dir=in_memory)
        MultiProcessCollector(self.registry, path=self._folder.name)  # type: ignore[no-untyped-call]
        self.registry.register(_Usage(self))

    def environment(self) -> dict[str, str]:
        """The variables that make a worker count where we read; prometheus_client reads them when it is imported."""
        return {"PROMETHEUS_MULTIPROC_DIR": self._folder.name}

    def forget_gauges(self, pid: int) -> None:
        """Drops the gauges of a worker that has ended; what it counted stays."""
        mark_process_dead(pid, self._folder.name)  # type: ignore[no-untyped-call]

    def living(self) -> list[int]:
        """The process ids of parent and workers."""
        return [os.getpid(), *self._living()]

    def close(self) -> None:
        """Deletes the workers' files."""
        self._folder.cleanup()


class _Usage(Collector):
    """What the processes use, as the kernel tells it."""

    def __init__(self, group: ProcessGroupMetrics) -> None:
        self._group = group
        self._start_seconds = time.time()
        self._ticks = os.sysconf("SC_CLK_TCK")

    def collect(self) -> Iterable[Metric]:
        """Reads /proc; a worker that ends meanwhile is left out."""
        with self._group.reaping:
            pids = self._group.living()
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu_seconds = ended.ru_utime + ended.ru_stime + sum(map(self._cpu_seconds, pids))
            memory_bytes = sum(map(_memory_bytes, pids))
            file_count = sum(map(_open_file_count, pids))
        yield CounterMetricFamily("process_cpu_seconds", "Seconds on the CPU, of all processes.", cpu_seconds)
        yield GaugeMetricFamily("process_resident_memory_bytes", "Memory; shared pages count once.", memory_bytes)
        yield GaugeMetricFamily("process_open_fds", "Open files of all processes.", file_count)
        yield GaugeMetricFamily(
            "process_start_time_seconds", "When the parent started, since 1970.", self._start_seconds
        )

    def _cpu_seconds(self, pid: int) -> float:
        try:
            fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / self._ticks


def _memory_bytes(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _open_file_count(pid: int) -> int:
    try:
        return len(os.listdir(_PROC / str(pid) / "fd"))  # noqa: PTH208 - counts, builds no paths
    except OSError:
        return 0
