"""Options that several offline commands share."""

from __future__ import annotations

from pathlib import Path

import click

RANKER_LOSSES = ("mixed", "pointwise", "pairwise", "listwise")
"""The names of training.ranker.losses.LOSSES, which takes seconds to import; the default first."""

_NEGATIVE_KINDS = {
    "hard": "negative_count",
    "random": "random_negative_count",
    "popularity": "popularity_negative_count",
    "in_batch": "in_batch_negative_count",
    "shown": "shown_negative_count",
}
_MOST_NEGATIVES = 2000

data_option = click.option(
    "--data",
    "data_path",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="A data set: a published one by its file names, or our own format (docs/data-format.md).",
)
log_option = click.option(
    "--log",
    "log_path",
    type=click.Path(path_type=Path, exists=True),
    help="A gateway's log (docs/impressions.md) to be read behind the data.",
)
log_key_option = click.option(
    "--log-key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The log's secret, by which the data's people are recognised in it.",
)
profile_option = click.option(
    "--profile",
    "profile_name",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="quick: minutes; full: under forty minutes for ten thousand items, with all baselines.",
)
seed_option = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
reliability_option = click.option(
    "--reliability",
    "reliability_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also plot what the rankers said against what people did (PNG).",
)


class NameList(click.ParamType[tuple[str, ...]]):
    """Names separated by commas, each once, at least one."""

    name = "names"

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Splits and checks the names."""
        if not isinstance(value, str):
            return value
        names = tuple(part.strip() for part in value.split(","))
        if not all(names):
            self.fail(f"expected names separated by commas, got {value!r}", param, ctx)
        for name in names:
            if names.count(name) > 1:
                self.fail(f"expected each name once, got {name!r} {names.count(name)} times", param, ctx)
        return names


class NegativeCounts(click.ParamType[dict[str, int]]):
    """How many negatives of which kind a ranker learns from, as ``hard=100,random=12``."""

    name = "counts"

    def convert(
        self, value: str | dict[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, int]:
        """The counts by the names of RankerTraining's fields; kinds not named have none."""
        if not isinstance(value, str):
            return value
        expected = f"KIND=COUNT separated by commas, kinds {', '.join(_NEGATIVE_KINDS)}, counts 0 to {_MOST_NEGATIVES}"
        counts = dict.fromkeys(_NEGATIVE_KINDS, 0)
        seen = set()
        for part in value.split(","):
            kind, _, count = (piece.strip() for piece in part.partition("="))
            if kind not in counts or kind in seen or not count.isdecimal() or int(count) > _MOST_NEGATIVES:
                self.fail(f"expected {expected}, got {part.strip()!r}", param, ctx)
            counts[kind] = int(count)
            seen.add(kind)
        if not any(counts.values()):
            self.fail("expected at least one negative, got none", param, ctx)
        return {_NEGATIVE_KINDS[kind]: count for kind, count in counts.items()}


rankers_option = click.option(
    "--rankers",
    type=NameList(),
    default="content",
    show_default=True,
    help="Families of rankers, the first of them the bundle's default; all for every family.",
)
ranker_loss_option = click.option(
    "--ranker-loss",
    type=click.Choice(RANKER_LOSSES),
    default=RANKER_LOSSES[0],
    show_default=True,
    help="What rankers learn from: cross-entropy, pairs (BPR), lists (softmax), or cross-entropy and lists together.",
)
ranker_negatives_option = click.option(
    "--ranker-negatives",
    type=NegativeCounts(),
    help="Negatives per person: hard, random, popularity, in_batch, shown (--log).  [default: hard=100,random=12]",
)
