"""The server's core: configuration and disk on one side, versions and look-ups on the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc

from model_server.config import ModelConfig
from model_server.errors import ServingError, invalid_argument
from model_server.lifecycle import Lifecycle, State, VersionState
from model_server.servable import Servable
from model_server.version_source import BasePathMissingError, aspired_versions

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5


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
            ServingError: A model failed to load, or a label points to a version that is not available.
        """
        self._models = dict(models)
        self._poll()
        if self._poll_seconds > 0:
            self._poller.start()
        # The real server gives labels as soon as one version of each model answers, and so refuses those of a version
        # that is slower to load; waiting for it harms nobody.
        while not self._lifecycle.wait(
            lambda versions: _settled(models, versions) and not _labels_pending(models, versions), _LOOK_SECONDS
        ):
            if self._stopping.is_set():
                return False
        self._raise_failures(models, "servable(s)")
        self._set_labels(models)
        return True

    def request_stop(self) -> None:
        """Ends waiting and polling; safe in a signal handler."""
        self._stopping.set()

    def stop(self) -> None:
        """Frees everything; calls should have ended before."""
        self._stopping.set()
        if self._poller.is_alive():
            self._poller.join()
        self._lifecycle.stop()

    def reload(self, models: Mapping[str, ModelConfig]) -> None:
        """Replaces the whole configuration and returns when every new model has an available version.

        Unlike the real server it never waits for a base path to appear or to be filled: that is an error at once.

        Raises:
            ServingError: UNKNOWN when a new model cannot be served, FAILED_PRECONDITION for a label of a version that
                is not available; the rest of the configuration is in force then.
        """
        with self._reload_lock:
            added = {name: model for name, model in models.items() if name not in self._models}
            # Not beside a look at the disk, which would ask for a removed model's versions again.
            with self._poll_lock:
                removed = self._models.keys() - models.keys()
                self._models = dict(models)
                for name in removed:
                    self._lifecycle.aspire(name, {})
            self._poll()
            while not self._lifecycle.wait(
                lambda versions: all(_decided(versions(name)) for name in added), _LOOK_SECONDS
            ):
                if self._stopping.is_set():
                    raise ServingError(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            self._raise_failures(added, "model(s)")
            self._set_labels(models)

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

    def _poll(self) -> None:
        with self._poll_lock:
            for name, model in self._models.items():
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
        for name in models:
            versions = self._lifecycle.versions(name)
            if any(one.state is State.AVAILABLE for one in versions):
                continue
            failed = next((one for one in versions if one.aspired), None)
            failures.append(
                f"{{{{name: {name} version: {failed.version}}} due to error: {failed.error}}}"
                if failed is not None
                else f"{{{{name: {name}}} due to error: NOT_FOUND: no version under its base path}}"
            )
        if failures:
            raise ServingError(
                grpc.StatusCode.UNKNOWN,
                f"{len(failures)} {noun} did not become available: {{{''.join(one + ', ' for one in failures)}}}",
            )

    def _set_labels(self, models: Mapping[str, ModelConfig]) -> None:
        for name, model in models.items():
            states = {one.version: one.state for one in self._lifecycle.versions(name)}
            known = self._labels.get(name, {})
            for label, version in model.labels.items():
                if states.get(version) is State.AVAILABLE or known.get(label) == version:
                    continue
                if self._allow_unavailable_labels and label not in known:
                    continue
                raise ServingError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {name}, which is not currently available "
                    "for inference",
                )
        self._labels = {name: dict(model.labels) for name, model in models.items()}


def _decided(versions: list[VersionState]) -> bool:
    """Whether a model answers, or will not: nothing of it should be served, or all of that failed."""
    return any(one.state is State.AVAILABLE for one in versions) or all(
        one.state is State.END for one in versions if one.aspired
    )


def _settled(models: Iterable[str], versions: Any) -> bool:
    return all((held := versions(name)) and any(one.aspired for one in held) and _decided(held) for name in models)


def _labels_pending(models: Mapping[str, ModelConfig], versions: Any) -> bool:
    return any(
        one.state in (State.START, State.LOADING)
        for name, model in models.items()
        for one in versions(name)
        if one.version in model.labels.values()
    )
