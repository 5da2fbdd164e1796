"""Versions that come and go, reloads and starts, as ``scenarios.json`` tells them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.tfserving.scenario import Disk, Player, fill
from tests.contract.tfserving.server_process import Launcher, running

_SCENARIOS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("scenarios.json").read_text(encoding="utf-8"))


def _prepare(scenario: dict[str, Any], root: Path, models: Path) -> None:
    disk = Disk(root, models)
    for step in scenario["disk"]:
        kind, given = next(iter(step.items()))
        getattr(disk, kind)(*(given if isinstance(given, list) else [given]))
    config = scenario.get("config")
    if isinstance(config, str):
        (root / "models.config").write_text(config)
    elif config is not None:
        (root / "models.config").write_text(_text(fill(config, root)))


def _text(models: list[dict[str, Any]]) -> str:
    """The text proto of a list of models; platform TensorFlow unless one says otherwise."""
    entries = []
    for model in models:
        fields = {"model_platform": "tensorflow", **model}
        labels = fields.pop("version_labels", {})
        policy = fields.pop("model_version_policy", None)
        text = " ".join(f"{name}: {json.dumps(value)}" for name, value in fields.items())
        text += "".join(f" version_labels {{ key: {json.dumps(key)} value: {value} }}" for key, value in labels.items())
        if policy is not None:
            ((kind, choice),) = policy.items()
            numbers = "".join(
                f" {name}: {number}"
                for name, given in choice.items()
                for number in (given if isinstance(given, list) else [given])
            )
            text += f" model_version_policy {{ {kind} {{{numbers} }} }}"
        entries.append(f"config {{ {text} }}")
    return "model_config_list {\n" + "\n".join(entries) + "\n}\n"


@pytest.mark.parametrize("scenario", _SCENARIOS, ids=[one["id"] for one in _SCENARIOS])
def test_scenario(
    scenario: dict[str, Any],
    launcher: Launcher,
    models: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if scenario.get("deliberate"):
        request.getfixturevalue("embedded")
    root = tmp_path / "root"
    root.mkdir()
    _prepare(scenario, root, models)
    with running(launcher, fill(scenario["flags"], root), tmp_path / "log") as server:
        # A scenario of a start says itself when the server should listen.
        if not scenario.get("start"):
            server.require_listening()
        player = Player(server, root, models)
        try:
            for step in scenario["steps"]:
                player.play(step)
        finally:
            player.close()
