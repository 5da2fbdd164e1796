"""A bucket, and a model in files of known sizes."""

from __future__ import annotations

import numpy as np

BUCKET = "a-bucket"
URL = f"s3://{BUCKET}/some/store"
CHUNK = 128 << 10
OVERHEAD = 100_000
"""Bytes that a fetch may need besides contents: headers, listings, the manifest."""


def random_bytes(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(count)


MODEL = {"saved_model.pb": random_bytes(700_000), "variables/variables.data": random_bytes(3_000_000, 1)}
MODEL_BYTES = 3_700_000
PIECES = {f"piece-{i}": random_bytes(400_000, i) for i in range(10)}
