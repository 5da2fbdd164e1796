"""A small generation of which only the items are there: all that the gateway maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from twostage.bundle.generation import Generation
from twostage.bundle.manifest import ActionEntry, IndexEntry, RankerEntry, SchemaEntry, SourceEntry, TowerEntry
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter
from twostage.features.actions import Action, ActionSchema

SCHEMA = ActionSchema(
    (
        Action("rated", "rated", taste=False),
        Action("liked", "rated", min_value=4.0),
        Action("to_read", "to_read"),
    )
)
"""Ratings of 4 and 5 and wishes are taste; other ratings are not."""


def publish_items(
    path: Path,
    *,
    popularity: Sequence[float],
    tags: Sequence[Sequence[str]] | None = None,
    years: Sequence[float] | None = None,
    shard_count: int = 1,
    recorded_actions: Sequence[str] = ("rated", "to_read"),
    rankers: Mapping[str, Sequence[str]] | None = None,
    make_current: bool = True,
) -> Generation:
    """Publishes items ``i0``, ``i1``… titled ``Title 0``… with the attributes ``tags`` and ``year``.

    The manifest names an index of ``shard_count`` shards, which is not there, and no more are its rankers, the first of
    them the default one: the actions that each knows by its name, ``r`` with ``rated`` when None.
    """
    rankers = rankers or {"r": ["rated"]}
    count = len(popularity)
    store = Store(path)
    with GenerationWriter(store) as writer:
        kinds = writer.write_items(
            item_ids=[f"i{row}" for row in range(count)],
            titles=[f"Title {row}" for row in range(count)],
            popularity=np.array(popularity, np.float32),
            attributes={
                "tags": [[]] * count if tags is None else tags,
                "year": np.full(count, np.nan) if years is None else np.array(years, np.float64),
            },
        )
        files = [f"shard-{shard}" for shard in range(shard_count)] if shard_count > 1 else []
        index = IndexEntry(family="exact", factory="Flat", file="none", files=files)
        writer.publish(
            {
                "created_at": "2025-01-01T00:00:00Z",
                "item_count": count,
                "recorded_actions": list(recorded_actions),
                "actions": [
                    ActionEntry(name=a.name, source=a.source, min_value=a.min_value, taste=a.taste)
                    for a in SCHEMA.actions
                ],
                "feature_schema": SchemaEntry(title="title", text=["title"]),
                "attributes": kinds,
                "towers": {
                    "t": TowerEntry(dimension=4, history_length=50, item_vectors="none", user_tower="none", index=index)
                },
                "default_tower": "t",
                "rankers": {
                    name: RankerEntry(
                        model=name,
                        inputs=[],
                        actions=list(actions),
                        candidate_table="none",
                        blend=dict.fromkeys(actions, 1.0),
                    )
                    for name, actions in rankers.items()
                },
                "default_ranker": next(iter(rankers)),
                "source": SourceEntry(name="tiny", fingerprint="none"),
            },
            make_current=make_current,
        )
    return store.open(writer.generation)
