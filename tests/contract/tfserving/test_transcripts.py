"""The embedded server beside recorded answers of TensorFlow Serving 2.20.0, on the very models that were asked."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.tfserving.known_differences import KNOWN_DIFFERENCES
from tests.contract.tfserving.recorded import Recording, read_recording
from tests.contract.tfserving.replay import Replay
from tests.contract.tfserving.replay_reloads import (
    replay_allowed_labels,
    replay_empty_base,
    replay_poison,
    replay_polled_config,
    replay_reloads,
    replay_second_poison,
)
from tests.contract.tfserving.replay_requests import replay_defaults, replay_flags, replay_requests
from tests.contract.tfserving.replay_starts import replay_batching, replay_starts, replay_warmup
from tests.contract.tfserving.replay_versions import (
    replay_in_flight,
    replay_labels,
    replay_other_model,
    replay_pinned,
    replay_policies,
    replay_retries,
    replay_versions,
)
from tests.contract.tfserving.server_process import Launcher

pytestmark = [pytest.mark.data, pytest.mark.slow]

# The longest first: they are played side by side, and mostly wait for the next poll of a disk.
_REPLAYS: tuple[Callable[[Replay], None], ...] = (
    replay_versions,
    replay_starts,
    replay_reloads,
    replay_warmup,
    replay_retries,
    replay_labels,
    replay_defaults,
    replay_in_flight,
    replay_other_model,
    replay_policies,
    replay_requests,
    replay_flags,
    replay_polled_config,
    replay_empty_base,
    replay_allowed_labels,
    replay_poison,
    replay_second_poison,
    replay_pinned,
    replay_batching,
)
_SIDE_BY_SIDE = 5
_REQUEST_KINDS = {
    "Predict",
    "Classify",
    "Regress",
    "MultiInference",
    "GetModelMetadata",
    "GetModelStatus",
    "HandleReloadConfigRequest",
}


@pytest.fixture(scope="module")
def recording() -> Recording:
    root = os.environ.get("TWOSTAGE_TEST_DATA")
    if not root or not (Path(root) / "tfserving-transcripts").is_dir():
        pytest.skip("needs tfserving-transcripts in the directory that TWOSTAGE_TEST_DATA names")
    return read_recording(Path(root).absolute() / "tfserving-transcripts")


@pytest.fixture(scope="module")
def differences(
    recording: Recording, embedded: None, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """How each recorded case came out; an empty text is as recorded."""
    del embedded

    def play(replay_of_setup: Callable[[Replay], None]) -> dict[str, str]:
        replay = Replay(recording, launcher, tmp_path_factory.mktemp(replay_of_setup.__name__))
        replay_of_setup(replay)
        return replay.differences

    found: dict[str, str] = {}
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        for one in pool.map(play, _REPLAYS):
            assert not found.keys() & one.keys()
            found |= one
    return found


def test_every_recorded_case_is_played(recording: Recording, differences: dict[str, str]) -> None:
    assert differences.keys() == recording.cases.keys()


def test_answers_are_as_recorded_or_differ_for_a_reason_that_is_stated(
    recording: Recording, differences: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = {name: case["rpc"].split(" ")[0] for name, case in recording.cases.items()}
    played = Counter(kinds[name] for name in differences)
    same = Counter(kinds[name] for name, text in differences.items() if not text)
    with capsys.disabled():
        print()  # noqa: T201  - a report
        for kind, count in sorted(played.items()):
            print(f"  {kind}: {same[kind]} of {count} as recorded")  # noqa: T201
        for name, text in differences.items():
            if text and name not in KNOWN_DIFFERENCES:
                print(f"  UNEXPECTED {name}: {text[:600]}")  # noqa: T201
    unexpected = {name: text for name, text in differences.items() if text and name not in KNOWN_DIFFERENCES}
    assert not unexpected
    # A difference that is gone must leave the list.
    assert {name for name, text in differences.items() if text} == KNOWN_DIFFERENCES.keys()


def test_at_least_98_percent_of_the_deterministic_authoritative_requests_are_answered_as_recorded(
    recording: Recording, differences: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    counted = [
        name
        for name, case in recording.cases.items()
        if case["rpc"] in _REQUEST_KINDS
        and case["authoritative"]
        and not case.get("nondeterministic")
        and not name.startswith("batch.")
        # The client's own words when it stops waiting: no answer of the server.
        and case["grpc_message"] != "Deadline Exceeded"
    ]
    same = sum(not differences[name] for name in counted)
    with capsys.disabled():
        print(f"\n  requests as recorded: {same} of {len(counted)}")  # noqa: T201  - a report
    assert len(counted) >= 200
    assert same >= 0.98 * len(counted)
