"""A generation of two items and a model that is no model: all that a store looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from twostage.bundle.manifest import Manifest
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter

FIELDS: dict[str, Any] = {
    "created_at": "2026-01-01T00:00:00Z",
    "item_count": 2,
    "recorded_actions": ["rated"],
    "actions": [{"name": "liked", "source": "rated", "min_value": 4.0}],
    "feature_schema": {"title": "title", "text": ["title"]},
    "attributes": {"tags": "values"},
    "towers": {
        "content": {
            "dimension": 2,
            "history_length": 50,
            "item_vectors": "retrieval/content/item_vectors.npy",
            "user_tower": "retrieval/content/user_tower.tflite",
            "index": {"family": "exact", "factory": "Flat", "file": "retrieval/content/index.faiss"},
        }
    },
    "default_tower": "content",
    "rankers": {
        "content": {
            "model": "content",
            "inputs": ["candidate_features"],
            "actions": ["liked"],
            "candidate_table": "ranking/content/candidates.npy",
            "blend": {"liked": 1.0},
        }
    },
    "default_ranker": "content",
    "source": {"name": "test", "fingerprint": "0"},
}


def publish_small(
    store: Store,
    *,
    make_current: bool = True,
    files: Mapping[str, bytes] | None = None,
    model_files: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Publishes the next generation.

    Args:
        store: Where to.
        make_current: False leaves CURRENT where it is.
        files: Contents of files beside ``items/``, by their path in the generation.
        model_files: Contents of the model's files; one small one when None.
    """
    with GenerationWriter(store) as writer:
        writer.write_items(
            item_ids=["a", "b"],
            titles=["A", ""],
            popularity=np.array([1.0, 3.0]),
            attributes={"tags": [["x"], []]},
        )
        for name, content in (files or {}).items():
            path = writer.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        model = writer.model_path("content")
        for name, content in (model_files or {"saved_model.pb": b"a model"}).items():
            path = model / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return writer.publish(FIELDS, make_current=make_current)
