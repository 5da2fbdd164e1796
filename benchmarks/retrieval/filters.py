"""How long filters take over a made-up catalogue: ``python -m benchmarks.retrieval.filters --items 1000000``.

Every answer is held against plain NumPy over the drawn values first. Times are medians over repetitions, without the
cache of recent filters and with it; cold ones include what a search reads of the set, its size and its bitmap.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from twostage.bundle.attributes import Attributes
from twostage.bundle.coded_values import CodedValues
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.row_set import RowSet

SELECTIVITIES = (0.5, 0.1, 0.01, 0.001)
_MANY = 1_000
_SOME = 30


@dataclass(frozen=True)
class Case:
    """A filter, and which items pass it by the values as they were drawn."""

    name: str
    selectivity: float
    asked: Filter
    expected: Callable[[], NDArray[np.bool_]]


class Catalogue:
    """Columns of which a known share of the items has a value, one of many values, or a number in a range.

    Args:
        item_count: N.
        seed: Of the draws.
    """

    def __init__(self, item_count: int, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.item_count = item_count
        self.price = self._random.random(item_count)
        # A third of a conjunction of three lets the cube root through.
        shares = [*SELECTIVITIES, *(share ** (1 / 3) for share in SELECTIVITIES)]
        self.traits = {f"trait {share:g}": self._random.random(item_count) < share for share in shares}
        self.groups = {
            self._group(count, share): self._drawn_groups(count, share)
            for count, own_shares in ((_MANY, shares[:4]), (_SOME, shares[4:]))
            for share in own_shares
        }

    def write(self, folder: Path) -> dict[str, str]:
        """Writes the attributes; returns their kinds."""
        kinds = Attributes.write(folder, {"price": self.price})
        has = np.stack(list(self.traits.values()), axis=1)
        offsets = np.concatenate([[0], np.cumsum(has.sum(axis=1))]).astype(np.int64)
        traits = CodedValues(offsets, np.nonzero(has)[1].astype(np.uint32), list(self.traits))
        kinds |= Attributes.write(folder, {"traits": traits})
        every = np.arange(self.item_count + 1, dtype=np.int64)
        for name, groups in self.groups.items():
            vocabulary = self._names(int(groups.max()) + 1)
            kinds |= Attributes.write(folder, {name: CodedValues(every, groups, vocabulary)})
        return kinds

    def cases(self) -> list[Case]:
        """All kinds of filters at all selectivities."""
        made = []
        for share in SELECTIVITIES:
            root = share ** (1 / 3)
            one, many, span = self._trait(share), self._any_of(_MANY, share), self._range(share)
            three = (self._trait(root), self._any_of(_SOME, root), self._range(root))
            narrow = (self._trait(SELECTIVITIES[0]), self._any_of(_MANY, SELECTIVITIES[0]), self._range(share))
            made += [
                self._case("one value", share, [one]),
                self._case(f"any of {_MANY} values", share, [many]),
                self._case("none of one value", 1 - share, [self._refused(share)]),
                self._case("range", share, [span]),
                self._case("all three of equal selectivity", share, three),
                self._case(f"half, any of {_MANY} (half), range", share / 4, narrow),
            ]
        return made

    def _case(
        self, name: str, share: float, parts: Sequence[tuple[Condition, Callable[[], NDArray[np.bool_]]]]
    ) -> Case:
        asked = Filter(tuple(condition for condition, _ in parts))
        return Case(name, share, asked, lambda: np.logical_and.reduce([mask() for _, mask in parts]))

    def _trait(self, share: float) -> tuple[Condition, Callable[[], NDArray[np.bool_]]]:
        name = f"trait {share:g}"
        return Condition("traits", any_of=(name,)), lambda: self.traits[name]

    def _refused(self, share: float) -> tuple[Condition, Callable[[], NDArray[np.bool_]]]:
        name = f"trait {share:g}"
        return Condition("traits", none_of=(name,)), lambda: ~self.traits[name]

    def _any_of(self, count: int, share: float) -> tuple[Condition, Callable[[], NDArray[np.bool_]]]:
        name = self._group(count, share)
        wanted = np.arange(0, 2 * count, 2)
        names = self._names(2 * count)
        asked = tuple(names[code] for code in self._random.permutation(wanted))
        return Condition(name, any_of=asked), lambda: self.groups[name] % 2 == 0

    def _range(self, share: float) -> tuple[Condition, Callable[[], NDArray[np.bool_]]]:
        low = float(self._random.uniform(0, 1 - share))
        high = low + share
        return Condition("price", minimum=low, maximum=high), lambda: (self.price >= low) & (self.price <= high)

    def _drawn_groups(self, count: int, share: float) -> NDArray[np.uint32]:
        """One of ``2 * count`` values for each item; those of even code are had by ``share`` of the items."""
        even = self._random.random(self.item_count) < share
        return (2 * self._random.integers(0, count, self.item_count) + ~even).astype(np.uint32)

    @staticmethod
    def _group(count: int, share: float) -> str:
        return f"one of {count} {share:g}"

    @staticmethod
    def _names(count: int) -> list[str]:
        return [f"value number {code}" for code in range(count)]


@click.command()
@click.option("--items", "item_count", default=1_000_000, show_default=True)
@click.option("--repeat", "repeat_count", default=31, show_default=True, help="Of each filter.")
@click.option("--seed", default=11, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Also write the table as Markdown.")
def main(item_count: int, repeat_count: int, seed: int, out: Path | None) -> None:
    """Draws a catalogue, writes and maps its attributes, and measures filters."""
    console = Console()
    catalogue = Catalogue(item_count, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        kinds = catalogue.write(folder)
        written = time.perf_counter()
        cold = Attributes.open(folder, kinds, item_count, cache_bytes=0)
        opened = time.perf_counter()
        size = sum(path.stat().st_size for path in folder.rglob("*.npy"))
        console.print(
            f"{item_count} items, {len(kinds)} attributes, {size / item_count:.0f} bytes an item: "
            f"written in {written - started:.1f} s, opened in {(opened - written) * 1e3:.1f} ms"
        )
        cached = Attributes.open(folder, kinds, item_count)
        rows = [_measure(case, cold, cached, repeat_count) for case in catalogue.cases()]
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*row.values())
    console.print(table)
    if out:
        lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
        out.write_text("".join(f"| {' | '.join(cells)} |\n" for cells in lines), encoding="utf-8")


def _measure(case: Case, cold: Attributes, cached: Attributes, repeat_count: int) -> Mapping[str, str]:
    found = cold.rows(case.asked)
    if not np.array_equal(found.mask, case.expected()):
        raise click.ClickException(f"{case.name} at {case.selectivity:g}: other items pass than should")

    def search_reads(row_set: RowSet) -> None:
        _ = len(row_set), row_set.octets

    cached.rows(case.asked)
    share = len(found) / len(found.mask)
    return {
        "filter": case.name,
        "selectivity": f"{share:.3%}",
        "evaluated, ms": _median_ms(lambda: cold.rows(case.asked), repeat_count),
        "with size and bitmap, ms": _median_ms(lambda: search_reads(cold.rows(case.asked)), repeat_count),
        "with rows, ms": _median_ms(lambda: cold.rows(case.asked).rows, repeat_count),
        "cached, ms": _median_ms(lambda: search_reads(cached.rows(case.asked)), repeat_count),
    }


def _median_ms(run: Callable[[], object], repeat_count: int) -> str:
    seconds = []
    for _ in range(repeat_count):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return f"{np.median(seconds) * 1e3:.3f}"


if __name__ == "__main__":
    main()
