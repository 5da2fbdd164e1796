"""What was asked, as the log keeps it: text that is empty when there is nothing to say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.engine.plan import NO_OVERRIDES, Overrides, Rival
from twostage.bundle.filters import Condition, Filter
from twostage.features.diversity import Cap


def filter_text(condition_filter: Filter) -> str:
    """JSON array of conditions; what a condition does not ask is left out."""
    return _text([_condition(condition) for condition in condition_filter.conditions])


def caps_text(caps: Sequence[Cap]) -> str:
    """JSON array of caps."""
    return _text([{"attribute": cap.attribute, "max_count": cap.max_count} for cap in caps])


def mapping_text(mapping: Mapping[str, Any]) -> str:
    """JSON object of texts or numbers."""
    return _text(dict(mapping))


def overrides_text(overrides: Overrides) -> str:
    """JSON object of what is overridden."""
    return _text(_overrides(overrides)) if overrides != NO_OVERRIDES else ""


def rivals_text(rivals: Sequence[Rival]) -> str:
    """JSON array of the rankings that were interleaved."""
    return _text([{"arm": rival.arm, **_overrides(rival.overrides)} for rival in rivals])


def _overrides(overrides: Overrides) -> dict[str, Any]:
    return {
        "ranker": overrides.ranker,
        "blend": dict(overrides.blend),
        "diversity_strength": overrides.diversity_strength,
    }


def _condition(condition: Condition) -> dict[str, Any]:
    parts = {
        "any_of": list(condition.any_of),
        "none_of": list(condition.none_of),
        "min": condition.minimum,
        "max": condition.maximum,
    }
    return {"attribute": condition.attribute} | {name: part for name, part in parts.items() if part not in (None, [])}


def _text(content: Any) -> str:
    # Shortest forms of floats: read again they are the same numbers.
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")) if content else ""
