"""A store of generations that are a manifest's name and nothing else, and engines that know what became of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from structlog.testing import CapturingLogger

from twostage.bundle.store import Store
from twostage.generations.keeper import Keeper


@dataclass(frozen=True, eq=False)
class MadeEngine:
    number: int
    close: Callable[[], None]
    item_count: int = 10


@dataclass
class MadeStore:
    """The store, the keeper over it, and what the test decides.

    Attributes:
        faults: What preparing a generation raises, by number.
        prepared: The numbers that were prepared, in order, failures included.
        closed: The numbers whose closer ran, in order.
        seconds: The keeper's clock.
    """

    path: Path
    faults: dict[int, Exception] = field(default_factory=dict)
    prepared: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    seconds: float = 0.0
    on_prepare: Callable[[int], None] = lambda _: None

    def __post_init__(self) -> None:
        self.store = Store(self.path)
        self.logger: Any = CapturingLogger()

    def publish(self, number: int, *, current: bool = True) -> None:
        folder = self.store.generations_path / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        # A new inode each time: a manifest that is written anew shows.
        aside = folder / "aside"
        aside.write_text("{}")
        aside.replace(folder / "manifest.json")
        if current:
            self.point(number)

    def point(self, number: int | str) -> None:
        (self.path / "CURRENT").write_text(f"{number}\n")

    def prepare(self, number: int) -> MadeEngine:
        self.prepared.append(number)
        self.on_prepare(number)
        if number in self.faults:
            raise self.faults[number]
        return MadeEngine(number, lambda: self.closed.append(number))

    def keeper(self, **arguments: Any) -> Keeper[MadeEngine]:
        return Keeper(
            self.store,
            self.prepare,
            logger=self.logger,
            closer_of=lambda engine: engine.close,
            clock=lambda: self.seconds,
            **arguments,
        )

    @property
    def warnings(self) -> list[str]:
        return [call.args[0] for call in self.logger.calls if call.method_name in ("warning", "error")]


def numbers(keeper: Keeper[MadeEngine]) -> list[int]:
    return [engine.number for engine in keeper.all]
