"""What people do, and what it says about their taste."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Action:
    """One action that rankers predict and histories are read by.

    Args:
        name: The action's name, e.g. ``liked``.
        source: The recorded action it derives from, e.g. ``rated``; its own name when it is recorded as such.
        min_value: The least recorded value that counts (inclusive); None counts every value, a missing one too.
        taste: True when doing this says "more like that". Only taste enters the history that the towers see.
        weight: The action's weight in the default blend of a ranker's scores, 0 or more.
    """

    name: str
    source: str
    min_value: float | None = None
    taste: bool = True
    weight: float = 1.0

    def matches(self, recorded: str, value: float | None) -> bool:
        """Says whether a recorded action with this value counts as this action."""
        if recorded != self.source:
            # A derived action may also be recorded directly, e.g. a client that only knows "liked".
            return recorded == self.name
        if self.min_value is None:
            return True
        return value is not None and value >= self.min_value


@dataclass(frozen=True)
class ActionSchema:
    """The actions of a data set, in the order in which rankers answer them."""

    actions: tuple[Action, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The predicted actions' names, in order."""
        return tuple(action.name for action in self.actions)

    @property
    def recorded_names(self) -> tuple[str, ...]:
        """Every name that may be recorded, sources first, without repeats."""
        return tuple(dict.fromkeys([a.source for a in self.actions] + [a.name for a in self.actions]))

    @property
    def weights(self) -> dict[str, float]:
        """The default blend: action name to weight."""
        return {action.name: action.weight for action in self.actions}

    def is_taste(self, recorded: str, value: float | None) -> bool:
        """Says whether a recorded action counts as taste, e.g. a rating of 4 does and one of 2 does not."""
        return any(action.taste and action.matches(recorded, value) for action in self.actions)

    def taste_mask(
        self, recorded: Sequence[str], codes: NDArray[np.integer], values: NDArray[np.floating]
    ) -> NDArray[np.bool_]:
        """The vectorised :meth:`is_taste`.

        Args:
            recorded: Names of recorded actions.
            codes: Integer array of any shape, positions in ``recorded``.
            values: Float array of the same shape, NaN where there is no value.

        Returns:
            A bool array of the same shape.
        """
        mask = np.zeros(codes.shape, dtype=np.bool_)
        for action in self.actions:
            if action.taste:
                mask |= self.label(action.name, recorded, codes, values)
        return mask

    def label(
        self, name: str, recorded: Sequence[str], codes: NDArray[np.integer], values: NDArray[np.floating]
    ) -> NDArray[np.bool_]:
        """Which of the recorded actions count as the action ``name``; shapes as in :meth:`taste_mask`.

        Raises:
            KeyError: There is no such action.
        """
        action = next((a for a in self.actions if a.name == name), None)
        if action is None:
            raise KeyError(f"no action named {name!r}; there are {', '.join(self.names)}")
        mask = np.zeros(codes.shape, dtype=np.bool_)
        for code, recorded_name in enumerate(recorded):
            if recorded_name == action.source:
                counts = codes == code
                if action.min_value is not None:
                    counts &= values >= action.min_value
                mask |= counts
            elif recorded_name == action.name:
                mask |= codes == code
        return mask
