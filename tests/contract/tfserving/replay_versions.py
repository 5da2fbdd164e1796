"""Setups V, Y and Z: versions that come and go."""

from __future__ import annotations

import base64
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.contract.tfserving.caller import Caller
from tests.contract.tfserving.recorded import difference_of_order
from tests.contract.tfserving.replay import Replay, Watch, model, reach, until
from tests.contract.tfserving.replay_requests import slow_request
from tests.contract.tfserving.warmup_file import frame, predict_record
from twostage.tfserving import messages

_RETRIES = "--max_num_load_retries=0"
# A poll of the disk, and what follows from it.
_POLL_SECONDS = 1.6
_SLOW = "slow"


def replay_versions(replay: Replay) -> None:
    """Setup V1: one model, its disk changed step by step."""
    base = replay.run / "V" / "m"
    replay.copy("half/1", "V/m/1")
    with replay.listening("--model_name=m", f"--model_base_path={base}", _RETRIES) as (server, caller):
        replay.ask(caller, "versions.initial")
        replay.copy("half/2", "V/m/2")
        reach(caller, "m", {2: "AVAILABLE", 1: "END"})
        replay.ask(caller, *(f"versions.hot_add.{one}" for one in ("after", "predict_old", "status_old")))
        shutil.rmtree(base / "2")
        reach(caller, "m", {2: "END", 1: "AVAILABLE"})
        replay.ask(caller, "versions.hot_remove.predict")
        _names(replay, base, caller)
        _broken(replay, base, caller, server.address)
        _loading(replay, base, caller, server.address)
        _removed(replay, base, caller)


def _names(replay: Replay, base: Path, caller: Caller) -> None:
    names = ("abc", "2.tmp", "-7", "0x9", "7a", " 8")
    for name in names:
        replay.copy("half/3", f"V/m/{name}")
    (base / "55").write_text("")
    reach(caller, "m", {55: "END"})
    time.sleep(_POLL_SECONDS)
    replay.ask(caller, "versions.names.ignored")
    (base / "55").unlink()
    for name in names:
        shutil.rmtree(base / name)
    time.sleep(_POLL_SECONDS)
    replay.ask(caller, "versions.names.after_cleanup")
    replay.copy("half/3", "V/m/00000012")
    reach(caller, "m", {12: "AVAILABLE", 1: "END"})
    replay.ask(caller, "versions.names.leading_zeros_predict")


def _broken(replay: Replay, base: Path, caller: Caller, address: str) -> None:
    (base / "20").mkdir()
    reach(caller, "m", {20: "END"})
    replay.ask(caller, "versions.broken_empty.status", "versions.broken_empty.predict_version")
    _halve(replay.copy("half/3", "aside/21") / "saved_model.pb")
    (replay.run / "aside" / "21").rename(base / "21")
    reach(caller, "m", {21: "END"})
    shutil.rmtree(replay.copy("half/3", "aside/22") / "variables")
    (replay.run / "aside" / "22").rename(base / "22")
    reach(caller, "m", {22: "AVAILABLE", 12: "END"})
    replay.ask(caller, "versions.missing_variables.status", "versions.missing_variables.status_all")
    _halve(replay.copy("half/3", "aside/23") / "variables" / "variables.data-00000-of-00001")
    (replay.run / "aside" / "23").rename(base / "23")
    reach(caller, "m", {23: "END"})
    replay.ask(caller, "versions.truncated_variables.status", "versions.several_broken.status_all")
    name = "versions.good_after_broken.timeline"
    with Watch(address, "m") as watch:
        replay.copy("half/3", "V/m/24")
        reach(caller, "m", {24: "AVAILABLE", 22: "END"})
    replay.found(name, watch.difference(replay.case(name)["timeline"]))
    replay.ask(caller, "versions.good_after_broken.predict")


def _halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _loading(replay: Replay, base: Path, caller: Caller, address: str) -> None:
    path = replay.copy("slow/1", "aside/30")
    (path / "assets.extra").mkdir()
    request = {"model_spec": {"name": "m"}, "inputs": {"n": {"dtype": "DT_INT32", "tensor_shape": {}}}}
    request["inputs"]["n"]["int_val"] = [100_000]  # type: ignore[index]
    (path / "assets.extra" / "tf_serving_warmup_requests").write_bytes(frame(predict_record(request)))
    path.rename(base / "30")
    reach(caller, "m", {30: "LOADING"})
    with Watch(address, "m") as watch:
        replay.ask(caller, *(f"versions.loading.{one}" for one in ("status", "predict_latest", "predict_version")))
        reach(caller, "m", {30: "AVAILABLE", 24: "END"})
    name = "versions.loading.timeline"
    replay.found(name, watch.difference(replay.case(name)["timeline"]))


def _removed(replay: Replay, base: Path, caller: Caller) -> None:
    for path in base.iterdir():
        shutil.rmtree(path)
    reach(caller, "m", {30: "END"})
    replay.ask(caller, "versions.all_removed.status", "versions.all_removed.predict")
    shutil.rmtree(base)
    time.sleep(_POLL_SECONDS)
    replay.ask(caller, "versions.base_removed.status", "versions.base_removed.predict")
    replay.copy("half/3", "V/m/31")
    reach(caller, "m", {31: "AVAILABLE"})
    replay.ask(caller, "versions.base_restored.status")
    other = replay.copy("half/2", "aside/31")
    (base / "31").rename(replay.run / "aside" / "old")
    other.rename(base / "31")
    time.sleep(_POLL_SECONDS)
    replay.ask(caller, "versions.replaced_in_place.predict")


def replay_policies(replay: Replay) -> None:
    """Setup V2."""
    for name in ("p_latest2", "p_all", "p_spec"):
        for version in (1, 2, 3):
            replay.copy(f"half/{version}", f"V/{name}/{version}")
    run = replay.run / "V"
    config = replay.config(
        "V/models.config",
        model("latest2", run / "p_latest2", "model_version_policy { latest { num_versions: 2 } }"),
        model("all", run / "p_all", "model_version_policy { all {} }"),
        model("spec", run / "p_spec", "model_version_policy { specific { versions: 1 versions: 3 versions: 9 } }"),
    )
    with replay.listening(config, _RETRIES) as (server, caller):
        for name, versions in (("latest2", (3, 2)), ("all", (3, 2, 1)), ("spec", (3, 1))):
            reach(caller, name, dict.fromkeys(versions, "AVAILABLE"))
        # The recording looked while the older ones were still loading, which it calls a race.
        replay.found("policy.all.status", "" if list(caller.states("all")) == [3, 2, 1] else "other versions")
        replay.ask(caller, "policy.spec.status", "policy.latest2.predict_older")
        replay.ask(caller, *(f"policy.{name}.predict" for name in ("latest2", "all", "spec")))
        for name, folder, version in (("latest2", "p_latest2", 4), ("spec", "p_spec", 9)):
            with Watch(server.address, name) as watch:
                replay.copy("half/1", f"V/{folder}/{version}")
                reach(caller, name, {version: "AVAILABLE"})
            case = f"policy.{name}.hot_add"
            replay.found(case, watch.difference(replay.case(case)["timeline"]))
        (run / "p_all" / "7").mkdir()
        reach(caller, "all", {7: "END"})
        replay.ask(caller, "policy.all.broken")


def replay_retries(replay: Replay) -> None:
    """Setup V3."""
    replay.copy("half/1", "V/r/1")
    base = replay.run / "V" / "r"
    flags = ("--max_num_load_retries=3", "--load_retry_interval_micros=1000000")
    with replay.listening("--model_name=r", f"--model_base_path={base}", *flags) as (server, caller):
        (base / "2").mkdir()
        reach(caller, "r", {2: "LOADING"})
        begin = time.monotonic()
        reach(caller, "r", {2: "END"})
        assert time.monotonic() - begin > 2.5
        replay.ask(caller, "retries.status")
        (base / "3").mkdir()
        reach(caller, "r", {3: "LOADING"})
        with Watch(server.address, "r") as watch:
            for part in replay.copy("half/3", "aside/3").iterdir():
                part.rename(base / "3" / part.name)
            reach(caller, "r", {3: "AVAILABLE", 1: "END"})
        replay.found("retries.repaired", watch.difference(replay.case("retries.repaired")["timeline"]))


def replay_labels(replay: Replay) -> None:
    """Setup Y1: labels of a version that goes, the last choice on the wire, and SIGTERM."""
    replay.copy("half/1", "Y/a/1")
    replay.copy("half/2", "Y/a/2")
    labels = 'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
    config = replay.config(
        "Y/models.config",
        model("a", replay.run / "Y" / "a", f"model_version_policy {{ all {{}} }} {labels}"),
        model(_SLOW, replay.recording.models / _SLOW),
    )
    with replay.listening(config, "--allow_version_labels_for_unavailable_models=true") as (server, caller):
        reach(caller, "a", {2: "AVAILABLE", 1: "AVAILABLE"})
        shutil.rmtree(replay.run / "Y" / "a" / "1")
        reach(caller, "a", {1: "END"})
        replay.ask(caller, "label.version_removed", "label.version_removed.metadata", "label.other_still_ok")
        replay.copy("half/1", "Y/a/1")
        reach(caller, "a", {1: "AVAILABLE"})
        replay.ask(caller, "label.version_back")
        # The content of a PredictRequest for a, then a model_spec again, with another choice.
        first = _predict_request(version=1).SerializeToString()
        last = messages.PredictRequest()
        last.model_spec.version_label = "canary"
        code, content = caller.ask_raw(messages.PREDICT_METHOD, first + last.SerializeToString())
        version = messages.PredictResponse.FromString(content).model_spec.version.value
        name = "spec.version_and_label_on_the_wire"
        replay.found(name, "" if f"version {version}" == replay.case(name)["result"] else f"{code}, version {version}")
        outcome: list[str] = []
        with _asking(lambda: outcome.append(caller.ask("Predict", slow_request(caller, 30_000))[0])):
            time.sleep(0.3)
            server.process.send(signal.SIGTERM)
        code_of_exit = server.wait()
        same = code_of_exit == replay.case("sigterm.in_flight")["exit_code"]
        replay.found("sigterm.in_flight", "" if same else f"exit code {code_of_exit}, the call ended {outcome}")


def _predict_request(version: int) -> Any:
    request = messages.PredictRequest.FromString(base64.b64decode("CgMKAWESFwoBeBISCAESCBICCAESAggBKgQAAIA/"))
    request.model_spec.version.value = version
    return request


class _asking:  # noqa: N801  - reads as what it does
    def __init__(self, work: Callable[[], object]) -> None:
        self._thread = threading.Thread(target=work)

    def __enter__(self) -> threading.Thread:
        self._thread.start()
        return self._thread

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def replay_pinned(replay: Replay) -> None:
    """Setup Y2: a client that asks for version 1 while 2 replaces it."""
    replay.copy("half/1", "Y2/b/1")
    name = "versions.pinned_old_during_swap"
    with replay.listening("--model_name=b", f"--model_base_path={replay.run / 'Y2' / 'b'}") as (server, caller):
        answers: list[str] = []
        stop = threading.Event()
        request = _predict_request(version=1)
        request.model_spec.name = "b"

        def ask() -> None:
            asking = Caller(server.address)
            while not stop.is_set():
                code, message, _ = asking.ask("Predict", request)
                answers.append(f"{code} {message}".strip())
            asking.close()

        with _asking(ask):
            replay.copy("half/2", "Y2/b/2")
            reach(caller, "b", {2: "AVAILABLE", 1: "END"})
            time.sleep(0.1)
            stop.set()
        runs = [one for i, one in enumerate(answers) if i == 0 or one != answers[i - 1]]
        expected = [text for text, _ in replay.case(name)["summary"]]
        replay.found(name, "" if runs == expected else f"{runs}, expected {expected}")


def replay_in_flight(replay: Replay) -> None:
    """Setup Y3: a long request on the version that is replaced."""
    replay.copy("slow/1", "Y3/slow/1")
    base = replay.run / "Y3" / "slow"
    name = "versions.unload_waits_for_inflight"
    with replay.listening(f"--model_name={_SLOW}", f"--model_base_path={base}") as (server, caller):
        outcome: list[str] = []
        other = Caller(server.address)
        with (
            Watch(server.address, _SLOW) as watch,
            _asking(lambda: outcome.append(other.ask("Predict", slow_request(other, 150_000))[0])),
        ):
            time.sleep(0.3)
            replay.copy("slow/1", "Y3/slow/2")
            until(lambda: bool(outcome))
            reach(caller, _SLOW, {2: "AVAILABLE", 1: "END"})
        assert outcome == ["OK"]
        # The recording has the new version LOADING, and the old one AVAILABLE, until the request has ended.
        recorded = [
            {1: "AVAILABLE"},
            {2: "START", 1: "AVAILABLE"},
            {2: "LOADING", 1: "AVAILABLE"},
            {2: "AVAILABLE", 1: "END"},
        ]
        seen_between = {2: "AVAILABLE", 1: "UNLOADING"} in watch.timeline
        text = difference_of_order(recorded, watch.timeline)
        replay.found(name, text or ("2 AVAILABLE and 1 UNLOADING while the request runs" if seen_between else ""))
        other.close()


def replay_other_model(replay: Replay) -> None:
    """Setup Z1: a long request on another model."""
    replay.copy("half/1", "Z/a/1")
    config = replay.config(
        "Z/models.config", model("a", replay.run / "Z" / "a"), model(_SLOW, replay.recording.models / _SLOW)
    )
    name = "versions.swap_held_by_other_model"
    with replay.listening(config) as (server, caller):
        outcome: list[str] = []
        other = Caller(server.address)
        with _asking(lambda: outcome.append(other.ask("Predict", slow_request(other, 150_000))[0])):
            time.sleep(0.3)
            replay.copy("half/2", "Z/a/2")
            until(lambda: caller.states("a") == {2: "AVAILABLE", 1: "END"} or bool(outcome))
            ended_first = not outcome
        assert outcome == ["OK"]
        replay.found(name, "2 AVAILABLE and 1 END before the other model's request has ended" if ended_first else "")
        other.close()
