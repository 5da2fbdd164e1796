from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.gateway.http.faces import Face, face


@pytest.fixture(scope="module")
def open_face() -> Iterator[Face]:
    with face(
        cors_origins="https://shop.example", max_body_bytes=100_000, body_seconds=0.4, max_wait_seconds=1.0
    ) as one:
        yield one
