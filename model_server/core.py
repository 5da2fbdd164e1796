"""The server's core: configuration and disk on one side, versions and look-ups on the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc

from model_server.config import ModelConfig, refuse_changed_platforms, require_supported
from model_server.errors import ServingError, invalid_argument
from model_server.lifecycle import Lifecycle, State, VersionState
from model_server.servable import Servable
from model_server.version_source import BasePathMissingError, aspired_versions

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
_AFTER_RELOAD_SECONDS = 0.1


class Core:
    """Keeps the configured models served.

    Args:
        lifecycle: Loads, unloads and hands out versions.
        poll_seconds: Between two looks at the disk; 0 looks only when the configuration is set.
        allow_unavailable_labels: Accept a label that points nowhere yet, for a version that is not available.
    """

    def __init__(self, lifecycle: Lifecycle, *, poll_seconds: float, allow_unavailable_labels: bool) -> None:
        self._lifecycle = lifecycle
        self._poll_seconds = poll_seconds
        self._allow_unavailable_labels = allow_unavailable_labels
        self._models: dict[str, ModelConfig] = {}
        self._labels: Mapping[str, Mapping[str, int]] = {}
        self._seen: dict[str, str] = {}
        self._reload_lock = threading.Lock()
        self._poll_lock = threading.Lock()
        self._stopping = threading.Event()
        self._poller = threading.Thread(target=self._poll_forever, name="poll", daemon=True)

    def start(self, models: Mapping[str, ModelConfig]) -> bool:
        """Serves the models and returns when each has an available version; a missing one is waited for.

        Returns:
            False when ``request_stop`` came first.

        Raises:
            ServingError: FAILED_PRECONDITION for a label, whose version cannot be available yet, unless that is
                allowed; INVALID_ARGUMENT for an unsupported platform; UNKNOWN when a model failed to load.
        """
        labels = self._checked_labels(models)
        require_supported(models)
        self._labels = labels
        self._models = dict(models)
        self._poll()
        if self._poll_seconds > 0:
            self._poller.start()
        while not self._lifecycle.wait(
            lambda versions: all(_deciding(versions(name)) is not None for name in models), _LOOK_SECONDS
        ):
            if self._stopping.is_set():
                return False
        self._raise_failures(models, "servable(s)")
        return True

    def request_stop(self) -> None:
        """Ends waiting and polling; safe in a signal handler."""
        self._stopping.set()

    def stop(self) -> int:
        """Frees everything; calls should have ended before.

        Returns:
            How many loads still run, which nothing can stop.
        """
        self._stopping.set()
        if self._poller.is_alive():
            self._poller.join()
        return self._lifecycle.stop()

    def reload(self, models: Mapping[str, ModelConfig]) -> None:
        """Replaces the whole configuration and returns when every new model has an available version.

        What a model that was there before gains or loses comes about a moment later, and is not waited for.

        Unlike the real server it never waits for a base path to appear or to be filled: that is an error at once. And
        what is refused leaves no trace: the next configuration is held against the one in force.

        Raises:
            ServingError: INVALID_ARGUMENT for a changed or unsupported platform, FAILED_PRECONDITION for a label of a
                version that is not available, and the old configuration stays in force; UNKNOWN when a new model
                cannot be served, and the new one is in force then.
        """
        with self._reload_lock:
            refuse_changed_platforms(self._models, models)
            labels = self._checked_labels(models)
            require_supported(models)
            self._labels = labels
            added = models.keys() - self._models.keys()
            # Not beside a look at the disk, which would ask for a removed model's versions again.
            with self._poll_lock:
                removed = self._models.keys() - models.keys()
                self._models = dict(models)
                for name in removed:
                    self._lifecycle.aspire(name, {})
            self._poll(added)
            self._poll_soon()
            while not self._lifecycle.wait(
                lambda versions: all(
                    _deciding(held) is not None or not any(one.aspired for one in held) for held in map(versions, added)
                ),
                _LOOK_SECONDS,
            ):
                if self._stopping.is_set():
                    raise ServingError(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            self._raise_failures(added, "model(s)")

    @contextmanager
    def acquire(self, spec: Any) -> Iterator[tuple[int, Servable]]:
        """Holds the version that a ModelSpec names while it answers.

        Raises:
            ServingError: INVALID_ARGUMENT without a name or with an unknown label, NOT_FOUND when it is not available.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        number: int | None = None
        choice = spec.WhichOneof("version_choice")
        if choice == "version":
            number = spec.version.value
        elif choice == "version_label" and spec.version_label:
            number = self._labels.get(spec.name, {}).get(spec.version_label)
            if number is None:
                raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        with self._lifecycle.acquire(spec.name, number) as held:
            yield held

    def versions(self, model: str) -> list[VersionState]:
        """Lists all versions of a model that were ever tracked, the highest first."""
        return self._lifecycle.versions(model)

    def _poll_forever(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            try:
                self._poll()
            except Exception:  # noqa: BLE001  - the next look may go well, and without looks nothing ever changes
                _LOG.exception("looking for versions failed; the next look is in %s s", self._poll_seconds)

    def _poll_soon(self) -> None:
        """Looks at the disk for the models that were there before: as in the real server, after the answer."""
        timer = threading.Timer(_AFTER_RELOAD_SECONDS, self._poll)
        timer.daemon = True
        timer.start()

    def _poll(self, only: Collection[str] | None = None) -> None:
        with self._poll_lock:
            for name, model in self._models.items():
                if self._stopping.is_set() or (only is not None and name not in only):
                    continue
                try:
                    found = aspired_versions(model)
                except BasePathMissingError as error:
                    self._note(name, f"{error}; what is loaded stays")
                    continue
                self._note(name, f"model {name}: versions {sorted(found)} of {model.base_path} are to be served")
                self._lifecycle.aspire(name, found)

    def _note(self, model: str, text: str) -> None:
        """Logs what a look at the disk found, when it is news."""
        if self._seen.get(model) != text:
            self._seen[model] = text
            _LOG.info("%s", text)

    def _raise_failures(self, models: Iterable[str], noun: str) -> None:
        failures = []
        for name in sorted(models):
            deciding = _deciding(self._lifecycle.versions(name))
            if deciding is None:
                failures.append(f"{{{{name: {name}}} due to error: NOT_FOUND: no version under its base path}}")
            elif deciding.state is State.END:
                failures.append(f"{{{{name: {name} version: {deciding.version}}} due to error: {deciding.error}}}")
        if failures:
            raise ServingError(
                grpc.StatusCode.UNKNOWN,
                f"{len(failures)} {noun} did not become available: {{{''.join(one + ', ' for one in failures)}}}",
            )

    def _checked_labels(self, models: Mapping[str, ModelConfig]) -> dict[str, dict[str, int]]:
        """Gives the labels of a configuration, or says which one may not be given.

        They are looked at before anything is loaded, so the versions that the same configuration adds do not count.
        """
        for name, model in models.items():
            states = {one.version: one.state for one in self._lifecycle.versions(name)}
            known = self._labels.get(name, {})
            for label, version in sorted(model.labels.items()):
                if self._allow_unavailable_labels and known.get(label, version) == version:
                    continue
                if states.get(version) is not State.AVAILABLE:
                    raise ServingError(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {name}, which is not currently "
                        "available for inference",
                    )
        return {name: dict(model.labels) for name, model in models.items()}


def _deciding(versions: list[VersionState]) -> VersionState | None:
    """Finds the version that decides whether a model is there: the highest that answers or that ended.

    So a broken newest version fails a start even beside a good older one, unless that one was quicker.
    """
    return next((one for one in versions if one.aspired and one.state in (State.AVAILABLE, State.END)), None)
