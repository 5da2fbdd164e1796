"""A small data set in the own format, as CSV."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

SPEC: dict[str, Any] = {
    "format": 1,
    "name": "shop",
    "items": {
        "file": "items.csv",
        "id": "sku",
        "title": "name",
        "text": ["description"],
        "categorical": ["colour"],
        "numeric": ["weight"],
        "multi_valued": {"labels": ";"},
    },
    "interactions": {
        "file": "events.csv",
        "user": "who",
        "item": "sku",
        "action": "what",
        "value": "stars",
        "time": "when",
    },
    "actions": [
        {"name": "rated", "taste": False, "weight": 0},
        {"name": "liked", "source": "rated", "min_value": 4},
        {"name": "bought"},
    ],
    "split": {"kind": "time_cut", "cut": "2024-02-01"},
}
ITEMS = """\
sku,name,description,colour,weight,labels
a,Lamp,"bright, warm",red,1.5,new; light;;
b,Chair,,,,
c,Table,oak,brown,30,wood
"""
EVENTS = """\
who,sku,what,stars,when
u1,a,rated,5,2024-01-01T10:00:00Z
u1,b,bought,,2024-01-02 10:00:00
u2,a,rated,2,1704103200
u2,c,rated,4,2024-02-01T01:00:00+01:00
"""


def changed(path: str, value: object) -> dict[str, Any]:
    """The description with one key (``items.title``) set to another value."""
    spec = copy.deepcopy(SPEC)
    node = spec
    *parents, last = path.split(".")
    for parent in parents:
        node = node[parent]
    node[last] = value
    return spec


def write_own(directory: Path, spec: object = None, items: str = ITEMS, events: str = EVENTS) -> Path:
    """Writes description, items and events; a description may also be text."""
    directory.mkdir(parents=True, exist_ok=True)
    text = spec if isinstance(spec, str) else yaml.safe_dump(SPEC if spec is None else spec, sort_keys=False)
    (directory / "dataset.yaml").write_text(text, encoding="utf-8")
    (directory / "items.csv").write_text(items, encoding="utf-8")
    (directory / "events.csv").write_text(events, encoding="utf-8")
    return directory
