"""Writes Grafana's dashboards: ``python k8s/components/monitoring/dashboards/build.py [--check]``.

A dashboard is JSON of some hundred lines of which a dozen say something; those stand here. Grafana's own builder
library is numbered so that no range of versions can be pinned, which is why this writes the JSON itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleet import FLEET
from overview import OVERVIEW
from panels import Panel
from stages import STAGES

HERE = Path(__file__).parent
# Grafana's grid has 24 columns.
WIDTH, HEIGHT = 8, 8

DASHBOARDS = {
    "overview": ("Twostage: overview", OVERVIEW),
    "stages": ("Twostage: stages", STAGES),
    "fleet": ("Twostage: fleet", FLEET),
}


def dashboard(name: str) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"twostage-{name}",
        "title": title,
        "tags": ["twostage"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "data source"},
                {
                    "name": "namespace",
                    "type": "query",
                    "datasource": {"type": "prometheus", "uid": "${datasource}"},
                    "query": {"query": "label_values(twostage_ready, namespace)", "refId": "namespace"},
                    "refresh": 2,
                },
            ]
        },
        "links": [{"type": "dashboards", "title": "Twostage", "tags": ["twostage"], "asDropdown": False}],
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 25} if panel.stacked else {}
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, **({"custom": custom} if custom else {})}
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.unit == "percentunit":
        defaults |= {"max": 1, "decimals": 3, "min": None}
    return {
        "id": number + 1,
        "title": panel.title,
        "description": panel.description,
        "type": panel.kind,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": number % 3 * WIDTH, "y": number // 3 * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "exemplar": panel.exemplars}
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def files() -> Iterator[tuple[Path, str]]:
    """Every dashboard's file and what it holds."""
    for name in DASHBOARDS:
        yield HERE / f"{name}.json", json.dumps(dashboard(name), indent=1) + "\n"


def main() -> int:
    """Writes the files, or with ``--check`` says which are not what this writes."""
    if sys.argv[1:] not in ([], ["--check"]):
        sys.stderr.write(f"expected --check or nothing, received {' '.join(sys.argv[1:])}\n")
        return 2
    wrong = 0
    for path, content in files():
        if not sys.argv[1:]:
            path.write_text(content, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != content:
            sys.stderr.write(f"{path.name} is not what {Path(__file__).name} writes; run it\n")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
