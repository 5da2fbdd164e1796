"""Types of options: numbers without NaN and infinity, which click lets through."""

from __future__ import annotations

import math
from typing import Any

import click


class FiniteFloat(click.types.FloatParamType):
    """A number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Reads it and refuses NaN and infinity."""
        return _finite(self, float(super().convert(value, param, ctx)), value, param, ctx)


class FiniteRange(click.FloatRange):
    """A number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Reads it and refuses NaN, infinity and what is out of bounds."""
        return _finite(self, float(super().convert(value, param, ctx)), value, param, ctx)


def _finite(
    kind: FiniteFloat | FiniteRange,
    number: float,
    value: object,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> float:
    if not math.isfinite(number):
        kind.fail(f"{value} is not a finite number.", param, ctx)
    return number
