"""Follows the file of experiments: a new one is planned by within a poll, a broken one is told of and left aside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge
from structlog.typing import FilteringBoundLogger

from gateway.engine.plan import Arm
from gateway.planner import Planner
from twostage.experiments.assignment import Assignment
from twostage.experiments.errors import ExperimentsInvalid
from twostage.experiments.experiment import INTERLEAVED
from twostage.experiments.file import read_experiments
from twostage.rpc.settings import SettingsError

_JOIN_SECONDS = 5.0
_Stamp = tuple[int, int, int]
OnArms = Callable[[Sequence[Arm]], None]
"""Takes the arms of all experiments."""


class ExperimentsFile:
    """Keeps a planner's experiments as a file has them.

    ``twostage_gateway_experiments`` is how many enabled experiments are planned by,
    ``twostage_gateway_experiment_reloads_total{outcome}`` counts changes of the file, ``taken`` and ``refused``.

    Args:
        path: The file; looked up by its path each time, so that it may be replaced and be a link.
        planner: Told of its experiments.
        logger: Where changes and faults are told.
        registry: Where they are counted.
        on_arms: Told of all arms that requests may be in, whenever experiments were taken; nobody is when None.
        poll_seconds: Between two looks at the file's time, size and number; above 0.

    Raises:
        ExperimentsInvalid: The file cannot be read or is wrong now, when there is no older one to go on with.
    """

    def __init__(
        self,
        path: Path,
        planner: Planner,
        *,
        logger: FilteringBoundLogger,
        registry: CollectorRegistry,
        on_arms: OnArms | None = None,
        poll_seconds: float = 1.0,
    ) -> None:
        self._path = path
        self._planner = planner
        self._logger = logger
        self._poll_seconds = poll_seconds
        self._on_arms = on_arms
        self._enabled = Gauge(
            "twostage_gateway_experiments", "Enabled experiments that requests are planned by.", registry=registry
        )
        reloads = Counter(
            "twostage_gateway_experiment_reloads_total",
            "Changes of the file of experiments by outcome: taken, refused (the experiments before it go on).",
            ("outcome",),
            registry=registry,
        )
        self._taken, self._refused = reloads.labels("taken"), reloads.labels("refused")
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        # Before it is read, so that a change in between is seen at the next look.
        self._stamp = _stamp(path)
        self._take()

    def watch(self) -> None:
        """Follows the file from now on, in a thread of its own."""
        self._thread = threading.Thread(target=self._follow, name="experiments", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Follows it no longer."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def look(self) -> None:
        """Takes the file's experiments if it changed and they are right; those before it go on otherwise."""
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._take()
        except ExperimentsInvalid as error:
            self._refused.inc()
            self._logger.warning("experiments refused, those before go on", complaint=str(error))
            return
        self._taken.inc()
        names = [each.name for each in self._planner.assignment.experiments if each.enabled]
        self._logger.info("experiments changed", experiments=names)

    def _take(self) -> None:
        assignment = read_experiments(self._path)
        self._planner.replace_experiments(assignment)
        self._enabled.set(sum(experiment.enabled for experiment in assignment.experiments))
        if self._on_arms is not None:
            self._on_arms(_arms(assignment))

    def _follow(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            self.look()


def open_experiments(
    path: Path | None,
    planner: Planner,
    *,
    logger: FilteringBoundLogger,
    registry: CollectorRegistry,
    on_close: Callable[[Callable[[], None]], object],
    on_arms: OnArms | None = None,
) -> Callable[[], None]:
    """Reads the file of experiments, where there is one.

    Args:
        path: The file; None for no experiments.
        planner: Told of them.
        logger: As of :class:`ExperimentsFile`.
        registry: Likewise.
        on_close: Takes what ends the following.
        on_arms: As of :class:`ExperimentsFile`.

    Returns:
        What begins to follow the file.

    Raises:
        SettingsError: The file cannot be read or is wrong.
    """
    if path is None:
        return lambda: None
    try:
        file = ExperimentsFile(path, planner, logger=logger, registry=registry, on_arms=on_arms)
    except ExperimentsInvalid as error:
        raise SettingsError(f"experiments: {error}") from error
    on_close(file.close)
    return file.watch


def _arms(assignment: Assignment) -> list[Arm]:
    found = [Arm(experiment.name, arm.name) for experiment in assignment.experiments for arm in experiment.arms]
    return [*found, *(Arm(experiment.name, INTERLEAVED) for experiment in assignment.experiments)]


def _stamp(path: Path) -> _Stamp | None:
    """What changes when a file does; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
