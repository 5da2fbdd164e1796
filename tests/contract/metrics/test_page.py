"""docs/metrics.md against what real services register."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contract.metrics.registered import registered_families

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
# Which services have the metrics of a section.
SECTIONS = {
    "Every process": ("gateway", "http", "retrieval", "ranking"),
    "Every server": ("gateway", "retrieval", "ranking"),
    "Every server, and the HTTP face": ("gateway", "http", "retrieval", "ranking"),
    "Gateway": ("gateway",),
    "HTTP face": ("http",),
    "Retrieval": ("retrieval",),
    "Ranking": ("ranking",),
    "Several processes of one service": ("workers",),
    "Sync": ("sync",),
    "Embedded model server": ("model_server",),
}
ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| (?P<kind>\w+) \| (?P<labels>[^|]+) \| (?P<unit>[^|]+) \| (?P<text>.*) \|$")

Told = dict[str, tuple[str, tuple[str, ...]]]


def described() -> dict[str, Told]:
    """Type and labels of every metric on the page, by service."""
    found: dict[str, Told] = {service: {} for services in SECTIONS.values() for service in services}
    section = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| `"):
            row = ROW.match(line)
            assert row is not None, line
            assert row["unit"].strip()
            assert row["text"].strip()
            for service in SECTIONS[section]:
                assert row["name"] not in found[service], f"{row['name']} stands on the page twice for {service}"
                found[service][row["name"]] = row["kind"], tuple(re.findall(r"`(\w+)`", row["labels"]))
    return found


@pytest.mark.parametrize("service", sorted(registered_families()))
def test_the_page_has_exactly_the_metrics_that_the_service_registers(service: str) -> None:
    registered = {family.name: (family.kind, family.labels) for family in registered_families()[service].values()}
    assert described()[service] == registered


def test_names_say_what_they_count_and_in_which_unit() -> None:
    for families in registered_families().values():
        for family in families.values():
            if family.name.startswith("twostage_"):
                assert family.documentation.strip(), family.name
                assert family.name.endswith("_total") == (family.kind == "counter"), family.name
                assert not {"user", "user_id", "item_id", "address"} & set(family.labels), family.name


def test_the_objectives_ask_for_metrics_that_there_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```\n(.*?)```", page, re.DOTALL)
    asked = set(re.findall(r"\b(twostage_\w+)\{", "".join(blocks)))
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}
    assert names == {
        "twostage_gateway_recommendations_total",
        "twostage_requests_total",
        "twostage_request_seconds",
    }
    assert names <= set(registered_families()["gateway"])
