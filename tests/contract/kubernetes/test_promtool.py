from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml

from tests.contract.kubernetes.promtool import RULES, run_promtool

PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.skipif(
    PROMTOOL is None and os.environ.get("CI") != "true", reason="promtool is not on PATH (it comes with Prometheus)"
)


def _folder(tmp_path: Path, expr: str, exp: str) -> Path:
    """A monitoring component with one alert and its test."""
    rule = {"alert": "Down", "expr": expr, "labels": {"severity": "page"}}
    manifest = {"kind": "PrometheusRule", "spec": {"groups": [{"name": "group", "rules": [rule]}]}}
    alerts = [{"exp_labels": {"severity": exp, "job": "gateway"}}]
    test = {
        "rule_files": ["rules.yaml"],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": 'up{job="gateway"}', "values": "0 0 0"}],
                "alert_rule_test": [{"eval_time": "1m", "alertname": "Down", "exp_alerts": alerts}],
            }
        ],
    }
    (tmp_path / RULES / "tests").mkdir(parents=True)
    (tmp_path / RULES / "rules.yaml").write_text(yaml.safe_dump(manifest), encoding="utf-8")
    (tmp_path / RULES / "tests" / "down.yaml").write_text(yaml.safe_dump(test), encoding="utf-8")
    return tmp_path


def test_rules_that_are_right_and_their_tests_pass(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    assert list(run_promtool(PROMTOOL, _folder(tmp_path, "up == 0", "page"))) == []


def test_an_expression_that_is_none_is_named(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    problems = [str(each) for each in run_promtool(PROMTOOL, _folder(tmp_path, "up ==", "page"))]

    assert "check rules" in problems[0]


def test_a_rules_test_that_fails_is_named(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    problems = [str(each) for each in run_promtool(PROMTOOL, _folder(tmp_path, "up == 0", "ticket"))]

    assert len(problems) == 1
    assert "test rules" in problems[0]
    assert "FAILED" in problems[0]
