"""Which rankers a run trains, and how they may be published."""

from __future__ import annotations

from collections.abc import Sequence

from training.config import RankerConfig
from training.errors import RankersInvalid
from training.progress import Report
from twostage.features.actions import ActionSchema

DEFAULT_RANKERS = ("content",)
"""What is trained unless told otherwise."""

ALL = "all"
"""Stands for every family."""

ITEM_TABLES = ("auto", "model", "request")
"""Where the features of items are: in the rankers' models, in each request, or in the models while they are small."""


def ranker_names(wanted: Sequence[str]) -> tuple[str, ...]:
    """The families of the rankers to train, the default one first.

    Args:
        wanted: Names of families; ``all`` stands for those not named, in the order of
            training.ranker.families.registry.FAMILIES.

    Raises:
        RankersInvalid: There is none, one is unknown, or one is given twice.
    """
    from training.ranker.families.registry import FAMILIES  # noqa: PLC0415 - imports TensorFlow

    if not wanted:
        raise RankersInvalid(f"rankers: expected at least one of {', '.join(FAMILIES)}, got none")
    names: list[str] = []
    for name in wanted:
        if name != ALL and name not in FAMILIES:
            raise RankersInvalid(f"rankers: expected names among {', '.join(FAMILIES)} or {ALL}, got {name!r}")
        if wanted.count(name) > 1:
            raise RankersInvalid(f"rankers: expected each name once, got {name!r} {wanted.count(name)} times")
        names += [family for family in FAMILIES if family not in wanted] if name == ALL else [name]
    return tuple(names)


def suitable_rankers(
    wanted: Sequence[str], actions: ActionSchema, sizes: RankerConfig, report: Report
) -> tuple[str, ...]:
    """The rankers to train on a data set, found out before anything is trained for them.

    Args:
        wanted: As of :func:`ranker_names`; what ``all`` stands for and does not suit is left out.
        actions: The data set's actions.
        sizes: Sizes that families share.
        report: Told of what is left out.

    Raises:
        RankersInvalid: As :func:`ranker_names`, or a ranker that was named cannot predict these actions.
    """
    from training.ranker.families import registry  # noqa: PLC0415 - imports TensorFlow

    suitable = []
    for name in ranker_names(wanted):
        try:
            registry.build_ranker(name, sizes, actions, vector_size=2, feature_count=1)
        except ValueError as error:
            if name in wanted:
                raise RankersInvalid(f"ranker {name}: {error}") from error
            report.note(f"without the ranker {name}: {error}")
        else:
            suitable.append(name)
    return tuple(suitable)
