"""One stack of processes for all tests of a file; each test leaves it as it found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.stack import Stack, running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("chaos")) as stack:
        yield stack
        assert not [line for line in stack.lines if "Traceback" in line]
