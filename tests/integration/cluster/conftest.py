"""One small cluster for the file of tests that uses it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.cluster.load import Load, load
from tests.integration.cluster.namespaces import why_not
from tests.integration.cluster.pods import Cluster, cluster

RATE = 20.0


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    reason = why_not()
    if reason is not None:
        # Where the checks decide, nothing is left out in silence.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with cluster(tmp_path_factory.mktemp("cluster")) as started:
        started.settings["gateway"] |= {"resolve_seconds": 1, "max_connection_age_seconds": 5}
        started.join([*started.start("retrieval"), *started.start("ranking"), *started.start("gateway")])
        yield started


@pytest.fixture(scope="module")
def running(pods: Cluster) -> Iterator[Load]:
    """A load that goes on through all tests of the file; each looks at its own part."""
    with load(pods, RATE) as calls:
        yield calls
