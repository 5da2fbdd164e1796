from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.contract.kubernetes.custom_resources import shape_problems

_CERTIFICATE: dict[str, Any] = {
    "apiVersion": "cert-manager.io/v1",
    "kind": "Certificate",
    "metadata": {"name": "gateway"},
    "spec": {
        "secretName": "gateway-tls",
        "issuerRef": {"name": "authority"},
        "dnsNames": ["gateway"],
        "duration": "24h",
        "renewBefore": "8h",
        "isCA": False,
    },
}
_RULE: dict[str, Any] = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "PrometheusRule",
    "metadata": {"name": "rules"},
    "spec": {"groups": [{"name": "group", "rules": [{"alert": "Down", "expr": "up == 0", "for": "5m"}]}]},
}


def test_resources_of_the_published_shape_have_no_problem() -> None:
    assert list(shape_problems(_CERTIFICATE)) == []
    assert list(shape_problems(_RULE)) == []


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("secretname", "x", "secretname"),
        ("duration", "1d", "duration"),
        ("renewBefore", "24h", "renewBefore"),
        ("dnsNames", [], "commonName"),
        ("issuerRef", {"name": "a", "kind": "Isuer"}, "issuerRef.kind"),
        ("usages", ["server"], "usages"),
        ("isCA", "yes", "isCA"),
    ],
)
def test_a_certificate_of_another_shape_is_named(key: str, value: object, word: str) -> None:
    document = copy.deepcopy(_CERTIFICATE)
    document["spec"][key] = value

    problems = list(shape_problems(document))

    assert len(problems) == 1
    assert word in problems[0]


def test_a_rule_is_recorded_or_alerts() -> None:
    document = copy.deepcopy(_RULE)
    document["spec"]["groups"][0]["rules"][0]["record"] = "a:b"

    assert "record or alert" in next(shape_problems(document))
