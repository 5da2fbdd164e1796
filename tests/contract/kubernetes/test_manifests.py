"""What is rendered is right; ``make k8s`` renders the other combinations and knows the other versions."""

from __future__ import annotations

from tests.contract.kubernetes.checks import find_problems
from tests.contract.kubernetes.combinations import combinations
from tests.contract.kubernetes.rendered import Rendered
from tests.contract.kubernetes.schemas import Schemas


def test_production_has_no_problem(production: Rendered, schemas: Schemas) -> None:
    assert find_problems(production, schemas) == []


def test_all_components_together_have_no_problem(everything: Rendered, schemas: Schemas) -> None:
    assert find_problems(everything, schemas) == []


def test_every_component_and_overlay_is_rendered() -> None:
    found = combinations()

    assert {each.root for each in found} == {"base", "overlays/laptop", "overlays/production"}
    assert {name for each in found for name in each.components} >= {"redis", "monitoring", "tracing", "tls"}
    assert len(set(found)) == len(found)
