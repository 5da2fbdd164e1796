"""Prometheus's own tool over the alert rules: that they are rules, and that their tests pass."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.contract.kubernetes.combinations import K8S
from tests.contract.kubernetes.problems import Problem

RULES = Path("components") / "monitoring" / "rules"


def run_promtool(promtool: str, folder: Path = K8S) -> Iterator[Problem]:
    """Checks the rules of the monitoring component, and runs the tests beside them.

    The manifests wrap the rules; what Prometheus reads is taken out of them, each under its manifest's name, so that a
    test in ``tests/`` names the rules that it is of by that: ``rule_files: [gateway.yaml]``.

    Args:
        promtool: The program.
        folder: Where components are.
    """
    source = folder / RULES
    with tempfile.TemporaryDirectory() as scratch:
        rules = []
        for file in sorted(source.glob("*.yaml")):
            documents = [each for each in yaml.safe_load_all(file.read_text(encoding="utf-8")) if each]
            groups = [
                group for each in documents if each.get("kind") == "PrometheusRule" for group in each["spec"]["groups"]
            ]
            if groups:
                target = Path(scratch) / file.name
                target.write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
                rules.append(target.name)
        tests = []
        for file in sorted((source / "tests").glob("*.yaml")):
            shutil.copy(file, Path(scratch) / f"test-{file.name}")
            tests.append(f"test-{file.name}")
        for words, files in ((["check", "rules"], rules), (["test", "rules"], tests)):
            if not files:
                continue
            done = subprocess.run([promtool, *words, *files], cwd=scratch, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                said = " ".join((done.stdout + done.stderr).split())
                yield Problem("promtool", str(RULES), f"{' '.join(words)}: {said}")
