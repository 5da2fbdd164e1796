"""Plays recorded setups again on a server of the kind that is tested."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.contract.tfserving.caller import Caller
from tests.contract.tfserving.recorded import (
    Recording,
    Timeline,
    difference_of_call,
    difference_of_order,
    placed,
)
from tests.contract.tfserving.server_process import Launcher, Server, running

TIMEOUT_SECONDS = 60.0


class Replay:
    """What the replay of one setup has at hand, and what it found.

    Args:
        recording: The recorded cases.
        launcher: Starts servers.
        folder: For this setup alone; it stands where the recording says ``<run>``.
    """

    def __init__(self, recording: Recording, launcher: Launcher, folder: Path) -> None:
        self.recording = recording
        self.run = folder
        self.differences: dict[str, str] = {}
        self._launcher = launcher
        self._log_count = 0

    def case(self, name: str) -> dict[str, Any]:
        """A recorded case, with this run's paths."""
        case: dict[str, Any] = placed(self.recording.cases[name], self.run, self.recording.models)
        return case

    def found(self, name: str, difference: str) -> None:
        """Notes how a case came out; an empty text is as recorded."""
        assert name not in self.differences, name
        self.differences[name] = difference

    def ask(self, caller: Caller, *names: str, within_seconds: float = 0.0) -> None:
        """Asks recorded requests one after another; each may take a while to be answered as recorded."""
        for name in names:
            case = self.case(name)
            end = time.monotonic() + within_seconds
            while (text := difference_of_call(caller, case)) and time.monotonic() < end:
                time.sleep(0.02)
            self.found(name, text)

    def ask_at_once(self, caller: Caller, name: str, later: str) -> None:
        """Asks what was recorded right after something began; on a busy machine its end, recorded later, may be there.

        Args:
            caller: Asks.
            name: The case.
            later: The case that was recorded when it had ended.
        """
        text = difference_of_call(caller, self.case(name))
        end = time.monotonic() + TIMEOUT_SECONDS
        ended = self.case(later)
        while text and time.monotonic() < end:
            if not difference_of_call(caller, ended):
                text = ""
            time.sleep(0.02)
        self.found(name, text)

    @contextmanager
    def server(self, *flags: str) -> Iterator[Server]:
        """Starts a server that has not begun to listen yet."""
        self._log_count += 1
        with running(self._launcher, flags, self.run / f"log-{self._log_count}") as server:
            yield server

    @contextmanager
    def listening(self, *flags: str) -> Iterator[tuple[Server, Caller]]:
        """Starts a server and waits until it listens."""
        with self.server(*flags) as server:
            caller = Caller(server.require_listening())
            try:
                yield server, caller
            finally:
                caller.close()

    def copy(self, model: str, target: str) -> Path:
        """Copies a recorded model aside and renames it to its place."""
        aside = self.run / ".aside"
        # The recording may be read-only, and its copies are to be changed.
        shutil.copytree(self.recording.models / model, aside, copy_function=shutil.copyfile)
        for folder in (aside, *(path for path in aside.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        place = self.run / target
        place.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(place)
        return place

    def config(self, name: str, *models: str) -> str:
        """Writes a config file of models, each as the text between its braces, and gives the flag that names it."""
        path = self.run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("model_config_list {\n" + "\n".join(f"config {{ {one} }}" for one in models) + "\n}\n")
        return f"--model_config_file={path}"


def model(name: str, base: Path, extra: str = "") -> str:
    """The text of a model's configuration."""
    return f'name: "{name}" base_path: "{base}" model_platform: "tensorflow" {extra}'


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that has to come."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.01)


def reach(caller: Caller, name: str, states: Mapping[int, str]) -> None:
    """Waits until some versions of a model are in these states."""
    until(lambda: states.items() <= caller.states(name).items())


class Watch:
    """Notes in a thread every change of a model's states, as often as they can be asked for.

    Args:
        address: The server's.
        name: The model.
    """

    def __init__(self, address: str, name: str) -> None:
        self._caller = Caller(address)
        self._name = name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.timeline: Timeline = [self._caller.states(name)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._note()
        self._caller.close()

    def _look(self) -> None:
        while not self._stop.is_set():
            self._note()
            time.sleep(0.003)

    def _note(self) -> None:
        states = self._caller.states(self._name)
        if states != self.timeline[-1]:
            self.timeline.append(states)

    def difference(self, recorded: Sequence[Mapping[str, Any]]) -> str:
        """Compares with a recorded timeline."""
        expected = [{int(version): state[0] for version, state in one["status"].items()} for one in recorded]
        return difference_of_order(expected, self.timeline)
