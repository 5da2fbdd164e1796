"""Setups S, W and B: how a server starts, or does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.contract.tfserving.caller import Caller
from tests.contract.tfserving.recorded import stable_prefix
from tests.contract.tfserving.replay import Replay, model
from tests.contract.tfserving.server_process import Server
from tests.contract.tfserving.warmup_file import frame, predict_record

_ERROR = "Failed to start server. Error: "
# How long a start that waits is looked at.
_WAIT_SECONDS = 1.5


def replay_starts(replay: Replay) -> None:
    """Setups S: flags and configurations."""
    _write_configs(replay)
    (replay.run / "S" / "empty").mkdir(parents=True)
    (replay.run / "S" / "broken" / "1").mkdir(parents=True)
    for name, case in replay.recording.cases.items():
        if name.startswith("startup."):
            flags = [one for one in replay.case(name)["setup"].split(" ") if one]
            with replay.server(*flags) as server:
                text = _difference_of_start(case, server)
                replay.found(name, text or _after_start(replay, name, server))


def _write_configs(replay: Replay) -> None:
    half = replay.recording.models / "half"
    labels = 'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
    specific = "model_version_policy { specific { versions: 1 versions: 2 } }"
    configs = {
        "lab2": model("half", half, f"{specific} {labels}"),
        "lab3": model("half", half, 'version_labels { key: "ghost" value: 77 }'),
        "rel": model("half", Path("models/half")),
        "unk": model("half", half, "bogus_field: 1"),
        "mtype": f'name: "half" base_path: "{half}" model_type: TENSORFLOW',
        "noname": f'base_path: "{half}" model_platform: "tensorflow"',
        "nobase": 'name: "half" model_platform: "tensorflow"',
        "lat0": model("half", half, "model_version_policy { latest { num_versions: 0 } }"),
        "spec9": model("half", half, "model_version_policy { specific { versions: 9 } }"),
        "both": model("fromfile", half),
        "odd": model("a b/c.d", half),
    }
    for name, text in configs.items():
        replay.config(f"S/{name}.config", text)
    (replay.run / "S" / "b.txt").write_text("max_batch_size { value: 8 }\n")


def _difference_of_start(case: dict[str, Any], server: Server) -> str:
    if case["listening"] or "then" in case:
        if "then" not in case and not server.settle(60):
            return f"does not listen: {server.output}"
        return ""
    if case["exit_code"] is None:
        listens = server.settle(_WAIT_SECONDS)
        code = server.process.exit_code()
        return "" if not listens and code is None else f"exit code {code}, listening {listens}: {server.output}"
    code = server.wait()
    if code != case["exit_code"]:
        return f"exit code {code}, expected {case['exit_code']}"
    log = "\n".join(case.get("log_tail") or case["log"])
    expected = log.rpartition(_ERROR)[2] if _ERROR in log else ""
    given = server.output.rpartition(_ERROR)[2]
    return "" if given.startswith(_essential(expected)) else f"{given!r}, expected {expected!r}"


def _essential(text: str) -> str:
    """What an error says, up to where this run's folder or its own numbers come."""
    text = text.partition("\n")[0]
    for own in ("<run>", "<models>", "\ufffd", "truncated record at "):
        text = text.partition(own)[0]
    return stable_prefix(text)


def _after_start(replay: Replay, name: str, server: Server) -> str:
    """What the recording looked at after some starts."""
    case = replay.case(name)
    caller = Caller(server.address)
    try:
        if "then" in case:
            if server.settle(_WAIT_SECONDS):
                return "listens with nothing to serve"
            replay.copy("half/1", "S/empty/1")
            server.require_listening()
            return "" if caller.states("m") == {1: "AVAILABLE"} else str(caller.states("m"))
        if "predict_ghost" in case:
            request = caller.request("Predict")
            request.model_spec.name, request.model_spec.version_label = "half", "ghost"
            code, message, _ = caller.ask("Predict", request)
            return "" if [code, message] == case["predict_ghost"] else f"{code} {message}"
        names = {"fromfile": "fromfile", "default": "default", "status": "a b/c.d"}
        for key, served in names.items():
            if key in case and caller.states(served) != {3: "AVAILABLE"}:
                return f"{served}: {caller.states(served)}"
        return "" if "fromflag" not in case or caller.states("fromflag") == {} else "the flag's model is served"
    finally:
        caller.close()


def replay_warmup(replay: Replay) -> None:
    """Setups W: the ranker with a file of warm-up requests."""
    files = _warmup_files()
    for name, case in replay.recording.cases.items():
        if not name.startswith("warmup."):
            continue
        kind = name.partition(".")[2]
        path = replay.copy("ranker/2", f"aside/w_{kind}")
        (path / "assets.extra").mkdir()
        (path / "assets.extra" / "tf_serving_warmup_requests").write_bytes(files[kind]())
        base = replay.run / "X" / f"w_{kind}"
        base.mkdir(parents=True)
        path.rename(base / "2")
        flags = [one for one in case["setup"].split(" ") if one]
        with replay.server("--model_name=ranker", f"--model_base_path={base}", *flags) as server:
            replay.found(name, _difference_of_start(case, server))


def _warmup_files() -> dict[str, Callable[[], bytes]]:
    def tensor(rows: int) -> dict[str, Any]:
        return {
            "dtype": "DT_FLOAT",
            "tensor_shape": {"dim": [{"size": rows}, {"size": 4}]},
            "float_val": [1.0] * rows * 4,
        }

    def request(name: str = "ranker", **inputs: dict[str, Any]) -> bytes:
        return frame(predict_record({"model_spec": {"name": name}, "inputs": inputs}))

    good = request(user=tensor(1), items=tensor(2))
    bad = request(user=tensor(1))
    return {
        "good": lambda: good * 3,
        "other_model_name": lambda: request("other", user=tensor(1), items=tensor(2)),
        "missing_input": lambda: bad,
        "good_then_bad": lambda: good + bad,
        "not_tfrecord": lambda: b"this is no record file, it is text, and long enough to hold a header",
        "record_garbage": lambda: frame(b"\xff\xff\xff"),
        "truncated": lambda: good * 2 + good[: len(good) // 2],
        "empty_file": lambda: b"",
        "empty_record": lambda: frame(b""),
        "too_many_1001": lambda: good * 1001,
        "limit_1000": lambda: good * 1000,
        "iterations_3": lambda: good,
    }


def replay_batching(replay: Replay) -> None:
    """Setups B: the flag is not taken, and says so by its name."""
    half = replay.recording.models / "half"
    with replay.server("--enable_batching", "--model_name=half", f"--model_base_path={half}") as server:
        refused = server.wait() != 0 and "--enable_batching" in server.output.splitlines()[-1]
    for name in replay.recording.cases:
        if name.startswith("batch."):
            replay.found(name, "refused" if refused else "")
