"""Setups R1 to R6: HandleReloadConfigRequest, and the polled config file."""

from __future__ import annotations

import time
from typing import Any

from google.protobuf import json_format

from tests.contract.tfserving.caller import Caller
from tests.contract.tfserving.replay import Replay, model, reach

_RETRIES = "--max_num_load_retries=0"
_POLICY = "model_version_policy { specific { versions: 1 versions: 2 } }"
# Answered once the change has been made; at the recorded moment a little later.
_LATER = {"reload.empty_list.status", "reload.policy.status_later", "reload.policy_back.status_later"}
# Recorded before a change was made that had begun.
_AT_ONCE = {
    "reload.policy.status_at_once": "reload.policy.status_later",
    "reload.policy_back.status": "reload.policy_back.status_later",
}


def _prepare(replay: Replay) -> str:
    for source, target in (("half/1", "a/1"), ("half/2", "a/2"), ("half/3", "b/1"), ("half/1", "c/1")):
        replay.copy(source, f"R/{target}")
    for folder in ("broken/1", "emptybase"):
        (replay.run / "R" / folder).mkdir(parents=True)
    return replay.config("R/models.config", model("a", replay.run / "R" / "a", _POLICY))


def _a(replay: Replay, **extra: Any) -> dict[str, Any]:
    return {
        "name": "a",
        "base_path": str(replay.run / "R" / "a"),
        "model_platform": "tensorflow",
        "model_version_policy": {"specific": {"versions": [1, 2]}},
        **extra,
    }


def _b(replay: Replay, name: str = "b") -> dict[str, Any]:
    return {"name": name, "base_path": str(replay.run / "R" / "b"), "model_platform": "tensorflow"}


def _reload(caller: Caller, *models: dict[str, Any]) -> str:
    """A reload of which the recording tells only what came after it."""
    request = json_format.ParseDict(
        {"config": {"model_config_list": {"config": list(models)}}}, caller.request("HandleReloadConfigRequest")
    )
    return caller.ask("HandleReloadConfigRequest", request)[0]


def replay_reloads(replay: Replay) -> None:
    """Setup R1, one request after another."""
    both = _a(replay), _b(replay)
    # What was asked in between without being recorded.
    before = {
        "reload.add.predict": (both, "OK"),
        "reload.labels_move.predict": (
            (_a(replay, version_labels={"stable": 2, "canary": 2}), _b(replay)),
            "OK",
        ),
        "reload.label_unknown_model_in_list.predict": (
            (_a(replay, version_labels={"stable": 3}), _b(replay), _b(replay, "b2")),
            "FAILED_PRECONDITION",
        ),
        "reload.readd.predict": (both, "OK"),
    }
    with replay.listening(_prepare(replay), _RETRIES) as (_, caller):
        reach(caller, "a", {2: "AVAILABLE", 1: "AVAILABLE"})
        for name in replay.recording.cases:
            if not name.startswith("reload."):
                continue
            if name in before:
                models, code = before[name]
                assert _reload(caller, *models) == code
            if name == "reload.labels":
                reach(caller, "a", {2: "AVAILABLE", 1: "AVAILABLE"})
            if name in _AT_ONCE:
                replay.ask_at_once(caller, name, _AT_ONCE[name])
            else:
                replay.ask(caller, name, within_seconds=20.0 if name in _LATER else 0.0)


def replay_empty_base(replay: Replay) -> None:
    """Setup R2."""
    with replay.listening(_prepare(replay), _RETRIES) as (_, caller):
        replay.ask(caller, "reload2.empty_base", "reload2.empty_base.status")


def replay_allowed_labels(replay: Replay) -> None:
    """Setup R3."""
    with replay.listening(_prepare(replay), _RETRIES, "--allow_version_labels_for_unavailable_models=true") as (
        _,
        caller,
    ):
        reach(caller, "a", {2: "AVAILABLE", 1: "AVAILABLE"})
        assert _reload(caller, _a(replay, version_labels={"stable": 1, "next": 9})) == "OK"
        replay.ask(caller, *(name for name in replay.recording.cases if name.startswith("reload3.")))


def replay_poison(replay: Replay) -> None:
    """Setup R5."""
    with replay.listening(_prepare(replay), _RETRIES) as (_, caller):
        replay.ask(caller, *(name for name in replay.recording.cases if name.startswith("reload_poison.")))


def replay_second_poison(replay: Replay) -> None:
    """Setup R6."""
    with replay.listening(_prepare(replay), _RETRIES) as (_, caller):
        replay.ask(caller, *(name for name in replay.recording.cases if name.startswith("reload_poison2.")))


def replay_polled_config(replay: Replay) -> None:
    """Setup R4: the file comes to name a label that may not be given."""
    flag = _prepare(replay)
    name = "configpoll.bad_label"
    a, b = replay.run / "R" / "a", replay.run / "R" / "b"
    replay.config("R/models.config", model("a", a, _POLICY), model("b", b))
    with replay.listening(flag, _RETRIES, "--model_config_file_poll_wait_seconds=1") as (server, caller):
        reach(caller, "a", {2: "AVAILABLE", 1: "AVAILABLE"})
        replay.config(
            "R/models.config", model("a", a, f'{_POLICY} version_labels {{ key: "bad" value: 8 }}'), model("b", b)
        )
        expected = replay.case(name)["log"][0].partition("] ")[2]
        end = time.monotonic() + 20
        while expected not in server.output and time.monotonic() < end:
            time.sleep(0.1)
        states = caller.states("a"), caller.states("b")
        same = states == ({2: "AVAILABLE", 1: "AVAILABLE"}, {1: "AVAILABLE"}) and expected in server.output
        replay.found(name, "" if same else f"{states}\n{server.output}")
