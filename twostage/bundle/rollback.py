"""Going back to an older generation: the newest below the current one that verifies, or a named one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twostage.bundle.errors import BundleError, RollbackRefused
from twostage.bundle.store import Store

Check = Callable[[int], object]
"""Raises a BundleError when a generation is not fit to serve."""


@dataclass(frozen=True)
class Rollback:
    """A move of CURRENT.

    Args:
        source: Where it stood.
        target: Where it stands.
        skipped: Generations between the two that are not fit to serve, newest first, and why.
    """

    source: int
    target: int
    skipped: dict[int, BundleError]


def roll_back(store: Store, to: int | None = None, *, check: Check | None = None) -> Rollback:
    """Moves CURRENT to an older generation, or to a named one, which may be newer.

    CURRENT may name a generation that is damaged or gone: that is what this mends.

    Args:
        store: The store.
        to: The generation; the newest one below the current one that passes the check when None.
        check: What a generation must pass; ``store.verify`` when None.

    Returns:
        What was done.

    Raises:
        RollbackRefused: There is nothing to go back to, or ``to`` is current, absent or fails the check.
        BundleError: CURRENT cannot be read or moved, or the store does not answer.
    """
    check = check or store.verify
    source = store.pointer()
    present = store.generations()
    skipped: dict[int, BundleError] = {}
    target = _newest_fit(source, present, check, skipped) if to is None else _named(to, source, present, check)
    store.set_current(target)
    return Rollback(source, target, skipped)


def _named(to: int, source: int, present: list[int], check: Check) -> int:
    if to == source:
        raise RollbackRefused(f"generation {to} is the current one")
    if to not in present:
        held = ", ".join(map(str, present)) or "none"
        raise RollbackRefused(f"generation {to} is not in the store; present: {held}")
    try:
        check(to)
    except BundleError as error:
        raise RollbackRefused(f"generation {to} stays unused: {error}") from error
    return to


def _newest_fit(source: int, present: list[int], check: Check, skipped: dict[int, BundleError]) -> int:
    for number in sorted((number for number in present if number < source), reverse=True):
        try:
            check(number)
        except BundleError as error:
            skipped[number] = error
        else:
            return number
    if not skipped:
        raise RollbackRefused(f"nothing to roll back to: no generation is older than {source}, the current one")
    reasons = "; ".join(f"generation {number}: {error}" for number, error in skipped.items())
    raise RollbackRefused(f"nothing to roll back to: no generation older than {source} is fit to serve ({reasons})")
