"""The versions of every model, from the moment they should be served to their end.

START ▸ LOADING ▸ AVAILABLE ▸ UNLOADING ▸ END. AVAILABLE is said after look-ups succeed, UNLOADING before they stop.
Which version loads or unloads next is decided in ``transition``. A version that fails to load ends, and is not tried
again until it goes away and comes back; one that is no longer wanted when its load ends is never made available.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import grpc

from model_server.errors import ServingError
from model_server.servable import Servable
from model_server.transition import HeldVersion, Phase, Transition

_LOG = logging.getLogger(__name__)
# A load that takes longer ends with the process: nobody wants its model any more.
_LAST_LOADS_SECONDS = 1.0
_CODES_OF_ERRORS = {
    errno.ENOTDIR: grpc.StatusCode.FAILED_PRECONDITION,
    errno.ENOENT: grpc.StatusCode.NOT_FOUND,
    errno.EACCES: grpc.StatusCode.PERMISSION_DENIED,
}


class State(IntEnum):
    """The states of a version, numbered as in ``ModelVersionStatus``."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionState:
    """What is known of one version.

    Args:
        version: Its number.
        state: Where it is.
        error: Why it ended, when loading failed.
        aspired: Whether it should be served.
    """

    version: int
    state: State
    error: ServingError | None
    aspired: bool


class _Version:
    def __init__(self, model: str, number: int, path: Path) -> None:
        self.model = model
        self.number = number
        self.path = path
        self.state = State.START
        self.aspired = True
        self.queued = False
        self.attempt_count = 0
        self.in_flight_count = 0
        self.error: ServingError | None = None
        self.servable: Servable | None = None
        # Where it is to be loaded from once it is unloaded: it was asked for again while it was going.
        self.comes_back: Path | None = None

    @property
    def phase(self) -> Phase:
        if self.state is State.AVAILABLE:
            return Phase.READY
        if self.state is State.END:
            return Phase.GONE
        return Phase.NEW if self.state is State.START and not self.queued else Phase.BUSY

    def __str__(self) -> str:
        return f"{{name: {self.model} version: {self.number}}}"


class Lifecycle:
    """Loads and unloads versions in threads of its own, and hands out those that are available.

    Args:
        load: Loads the version in a folder, or raises ``ServingError``.
        load_threads: How many versions may load at once.
        unload_threads: How many may be freed at once.
        retry_count: Further tries after a load failed.
        retry_interval_seconds: Between two tries; the thread does other work meanwhile.
        transition: Whether a new version loads before the old one goes, or after.
    """

    def __init__(
        self,
        load: Callable[[Path], Servable],
        *,
        transition: Transition = Transition.AVAILABILITY,
        load_threads: int = 1,
        unload_threads: int = 1,
        retry_count: int = 0,
        retry_interval_seconds: float = 60.0,
    ) -> None:
        self._load = load
        self._next_step = transition.next_step
        self._retry_count = retry_count
        self._retry_interval_seconds = retry_interval_seconds
        self._models: dict[str, dict[int, _Version]] = {}
        self._changed = threading.Condition(threading.Lock())
        self._loaders = ThreadPoolExecutor(load_threads, thread_name_prefix="load")
        self._unloaders = ThreadPoolExecutor(unload_threads, thread_name_prefix="unload")
        self._timers: set[threading.Timer] = set()
        self._loading_count = 0
        self._stopped = False

    def aspire(self, model: str, versions: Mapping[int, Path]) -> None:
        """States which versions of a model should be served; the rest follows in the background."""
        with self._changed:
            if self._stopped:
                return
            held = self._models.setdefault(model, {})
            for number, version in held.items():
                version.aspired = number in versions and version.aspired
                version.comes_back = None
            for number, path in versions.items():
                current = held.get(number)
                if current is None or (current.state is State.END and not current.aspired):
                    held[number] = _Version(model, number, path)
                elif current.state is State.UNLOADING:
                    current.comes_back = path
                elif current.state is not State.END:
                    current.aspired = True
            self._reconcile(model)

    @contextmanager
    def acquire(self, model: str, number: int | None) -> Iterator[tuple[int, Servable]]:
        """Holds an available version while it answers.

        Args:
            model: The model's name.
            number: The version; None is the highest that is available.

        Raises:
            ServingError: NOT_FOUND.
        """
        with self._changed:
            version = self._find(model, number)
            version.in_flight_count += 1
            servable = version.servable
        assert servable is not None
        try:
            yield version.number, servable
        finally:
            with self._changed:
                version.in_flight_count -= 1
                if version.state is State.UNLOADING and version.in_flight_count == 0 and not self._stopped:
                    self._unloaders.submit(self._free, version)

    def versions(self, model: str) -> list[VersionState]:
        """Lists all versions of a model that were ever tracked, the highest first."""
        with self._changed:
            return self._snapshot(model)

    def wait(self, satisfied: Callable[[Callable[[str], list[VersionState]]], bool], timeout_seconds: float) -> bool:
        """Waits until a condition on versions holds.

        Args:
            satisfied: Gets a function that lists a model's versions.
            timeout_seconds: The longest wait.

        Returns:
            Whether it holds.
        """
        with self._changed:
            return self._changed.wait_for(lambda: satisfied(self._snapshot), timeout_seconds)

    def stop(self) -> int:
        """Ends everything: nothing loads any more, and what is loaded is freed. Calls should have ended before.

        Returns:
            How many loads still run: nothing can stop a load, and a warm-up may take for ever.
        """
        with self._changed:
            self._stopped = True
            timers = list(self._timers)
            models = list(self._models)
        for timer in timers:
            timer.cancel()
        self._loaders.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            self._changed.wait_for(lambda: not self._loading_count, _LAST_LOADS_SECONDS)
            loading_count = self._loading_count
            for model in models:
                for version in self._models[model].values():
                    version.aspired = False
                    if version.state is State.AVAILABLE:
                        self._start_unloading(version)
        self._unloaders.shutdown(wait=True)
        return loading_count

    def _find(self, model: str, number: int | None) -> _Version:
        held = self._models.get(model, {})
        if number is None:
            available = [one for one in held.values() if one.state is State.AVAILABLE]
            if not available:
                raise ServingError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({model})")
            return max(available, key=lambda one: one.number)
        version = held.get(number)
        if version is None or version.state is not State.AVAILABLE:
            raise ServingError(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Specific({model}, {number})"
            )
        return version

    def _snapshot(self, model: str) -> list[VersionState]:
        held = self._models.get(model, {})
        return [
            VersionState(one.number, one.state, one.error, one.aspired or one.comes_back is not None)
            for one in sorted(held.values(), key=lambda one: one.number, reverse=True)
        ]

    def _reconcile(self, model: str) -> None:
        """Takes the next steps for a model; the lock is held."""
        held = self._models[model]
        for version in held.values():
            if version.state is State.START and not version.aspired:
                version.state = State.END
        while not self._stopped:
            step = self._next_step([HeldVersion(one.number, one.aspired, one.phase) for one in held.values()])
            if step is None:
                break
            version = held[step.number]
            if step.loads:
                version.queued = True
                self._loaders.submit(self._try_load, version)
            else:
                self._start_unloading(version)
        self._changed.notify_all()

    def _try_load(self, version: _Version) -> None:
        error = _unreadable(version)
        with self._changed:
            if self._stopped or version.state is State.END:
                return
            version.attempt_count += 1
            self._loading_count += 1
            # As in the real server a version whose folder cannot be read ends without having been LOADING.
            if error is None:
                version.state = State.LOADING
                self._changed.notify_all()
        servable = None
        if error is None:
            servable, error = self._load_now(version)
        with self._changed:
            self._loading_count -= 1
            cancelled = servable is not None and not version.aspired
            if error is not None:
                _LOG.error("loading %s failed: %s", version, error)
                self._after_failure(version, error)
            elif not cancelled:
                version.servable = servable
                version.state = State.AVAILABLE
                _LOG.info("loaded %s", version)
            if not cancelled:
                self._reconcile(version.model)
                return
        assert servable is not None
        _close(version, servable)
        with self._changed:
            # Asked for again while it was put away: the next look at the disk starts it anew.
            version.aspired = False
            version.error = ServingError(grpc.StatusCode.CANCELLED, "Loading of servable cancelled")
            version.state = State.END
            self._reconcile(version.model)

    def _load_now(self, version: _Version) -> tuple[Servable | None, ServingError | None]:
        try:
            return self._load(version.path), None
        except ServingError as error:
            return None, error
        except Exception as error:  # noqa: BLE001  - a bug must not leave the version LOADING for ever
            _LOG.exception("loading %s failed unexpectedly", version)
            return None, ServingError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")

    def _after_failure(self, version: _Version, error: ServingError) -> None:
        if version.aspired and version.attempt_count <= self._retry_count and not self._stopped:
            timer = threading.Timer(self._retry_interval_seconds, self._retry, (version,))
            timer.daemon = True
            self._timers.add(timer)
            timer.start()
            return
        version.error = error
        version.state = State.END

    def _retry(self, version: _Version) -> None:
        with self._changed:
            self._timers = {timer for timer in self._timers if timer.is_alive()}
            if self._stopped or version.state is State.END:
                return
            if version.aspired:
                self._loaders.submit(self._try_load, version)
            else:
                version.error = ServingError(grpc.StatusCode.CANCELLED, "Loading of servable cancelled")
                version.state = State.END
                self._reconcile(version.model)

    def _start_unloading(self, version: _Version) -> None:
        version.state = State.UNLOADING
        if version.in_flight_count == 0:
            self._unloaders.submit(self._free, version)

    def _free(self, version: _Version) -> None:
        servable, version.servable = version.servable, None
        if servable is not None:
            _close(version, servable)
        with self._changed:
            version.state = State.END
            if version.comes_back is not None:
                self._models[version.model][version.number] = _Version(
                    version.model, version.number, version.comes_back
                )
            self._reconcile(version.model)


def _unreadable(version: _Version) -> ServingError | None:
    """Says why a version's folder cannot even be listed, in the words of the real server, which first sizes it up."""
    try:
        os.scandir(version.path).close()
    except OSError as error:
        return ServingError(
            _CODES_OF_ERRORS.get(error.errno or 0, grpc.StatusCode.UNKNOWN),
            f"Error while attempting to reserve resources to load servable {version}: {version.path}; {error.strerror}",
        )
    return None


def _close(version: _Version, servable: Servable) -> None:
    try:
        servable.close()
    except Exception:  # noqa: BLE001  - a bug must not leave the version UNLOADING for ever
        _LOG.exception("unloading %s failed unexpectedly", version)
        return
    _LOG.info("unloaded %s", version)
