"""``--model_config_file_poll_wait_seconds``: the config file is read again and again, and what is new put in force."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from model_server.config import ModelConfig
from model_server.errors import ServingError

_LOG = logging.getLogger(__name__)


class ConfigPoller:
    """Reloads the configuration when the file's content is another than when this was made, in a thread of its own.

    A file that is broken, or that cannot be put in force yet, is logged once and tried again at every look; what was in
    force stays. The real server reloads at every look, also when nothing has changed.

    Args:
        path: The file.
        seconds: Between two looks.
        read: Reads the file into a configuration; raises ``ServingError``.
        reload: Puts a configuration in force; raises ``ServingError``.
    """

    def __init__(
        self,
        path: Path,
        seconds: float,
        read: Callable[[], Mapping[str, ModelConfig]],
        reload: Callable[[Mapping[str, ModelConfig]], None],
    ) -> None:
        self._path = path
        self._seconds = seconds
        self._read = read
        self._reload = reload
        self._in_force = self._content()
        self._complaint = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look_forever, name="config", daemon=True)

    def start(self) -> None:
        """Starts looking."""
        self._thread.start()

    def stop(self) -> None:
        """Ends looking; a reload that has begun ends by itself once the core is told to stop."""
        self._stopping.set()

    def look(self) -> None:
        """Looks once."""
        content = self._content()
        if content is not None and content == self._in_force:
            self._complaint = ""
            return
        try:
            self._reload(self._read())
        except ServingError as error:
            self._complain(error.message)
            return
        self._in_force = content
        self._complaint = ""
        _LOG.info("%s is in force", self._path)

    def _look_forever(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                self.look()
            except Exception:  # noqa: BLE001  - the next look may go well
                _LOG.exception("looking at %s failed; the next look is in %s s", self._path, self._seconds)

    def _content(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except OSError:
            return None

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint and not self._stopping.is_set():
            self._complaint = complaint
            _LOG.error("PollFilesystemAndReloadConfig failed to ReloadConfig: %s; what was in force stays", complaint)
