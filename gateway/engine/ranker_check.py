"""Whether the ranker and the actions that a request names are there, before anybody is asked."""

from __future__ import annotations

from collections.abc import Mapping

from twostage.bundle.manifest import Manifest
from twostage.errors import InvalidField


def check_ranker(manifest: Manifest, ranker: str, blend: Mapping[str, float]) -> None:
    """Looks up a ranker and the actions that are to count.

    Args:
        manifest: The generation's.
        ranker: Its name, empty for the default one.
        blend: Weights by action, each finite and 0 or more; empty leaves them to the ranker.

    Raises:
        InvalidField: The generation has no such ranker, the ranker knows no such action, or nothing would count.
    """
    entry = manifest.rankers.get(ranker or manifest.default_ranker)
    if entry is None:
        raise InvalidField("ranker", f"one of {', '.join(manifest.rankers)}", ranker)
    if not blend:
        return
    for action in blend:
        if action not in entry.actions:
            raise InvalidField(f"blend[{action}]", f"one of the actions {', '.join(entry.actions)}", action)
    if not any(blend.values()):
        raise InvalidField("blend", "at least one weight above 0", dict(blend))
