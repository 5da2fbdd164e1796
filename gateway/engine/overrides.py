"""What an experiment's arm says of ranking and selection, laid over a request."""

from __future__ import annotations

from dataclasses import replace

from gateway.engine.plan import NO_OVERRIDES, Overrides
from gateway.engine.ranker_check import check_ranker
from gateway.engine.request import RecommendRequest
from twostage.bundle.manifest import Manifest
from twostage.errors import InvalidField


def override(request: RecommendRequest, overrides: Overrides, manifest: Manifest) -> tuple[RecommendRequest, list[str]]:
    """Lays overrides over a request; what the request states itself stays.

    A ranker or a blend that the generation does not have is left out: the caller did not ask for it, so it is no reason
    to refuse them.

    Args:
        request: What was asked; its ranker and blend fit the generation.
        overrides: Of the request's plan.
        manifest: The generation's.

    Returns:
        The request itself when nothing changes, else a changed copy; and what was left out, by name.
    """
    if overrides is NO_OVERRIDES:
        return request, []
    changed, dropped = request, []
    if overrides.ranker and not request.ranker:
        changed = _fitting(changed, replace(changed, ranker=overrides.ranker), manifest)
        if not changed.ranker:
            dropped.append("ranker")
    if overrides.blend and not request.blend:
        changed = _fitting(changed, replace(changed, blend=overrides.blend), manifest)
        if not changed.blend:
            dropped.append("blend")
    strength = overrides.diversity_strength
    if strength is not None and not request.diversity.strength:
        changed = replace(changed, diversity=replace(changed.diversity, strength=strength))
    return changed, dropped


def _fitting(before: RecommendRequest, after: RecommendRequest, manifest: Manifest) -> RecommendRequest:
    try:
        check_ranker(manifest, after.ranker, after.blend)
    except InvalidField:
        return before
    return after
