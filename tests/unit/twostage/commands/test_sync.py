"""``twostage generations sync`` as a person and a pod call it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.ports import free_port
from tests.small_generation import publish_small
from twostage.bundle.store import Store
from twostage.cli import main

pytest.importorskip("fsspec", reason="the extra store-s3 is not installed")


def sync(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["generations", "sync", *map(str, arguments)], catch_exceptions=False)


def test_once_copies_and_ends(tmp_path: Path) -> None:
    publish_small(Store(tmp_path / "source"))
    assert sync(tmp_path / "source", "--store", tmp_path / "copy", "--once").exit_code == 0
    assert Store(tmp_path / "copy").current() == 1


def test_once_without_a_bundle_fails_in_one_line_unless_it_may_be_missing(tmp_path: Path) -> None:
    arguments = (tmp_path / "source", "--store", tmp_path / "copy", "--once")
    failed = sync(*arguments)
    assert failed.exit_code == 1
    assert failed.output.splitlines()[-1].endswith("the store is empty, nothing was published to it yet")
    assert sync(*arguments, "--optional").exit_code == 0
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--optional",), "--wait-seconds and --optional go with --once"),
        (("--once", "--for", "nobody"), "'nobody' is not one of 'all', 'gateway', 'retrieval', 'ranking'"),
        (("--once", "--keep", "1"), "1 is not in the range x>=2"),
        (("--once", "--poll-seconds", "nan"), "nan"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    refused = sync(tmp_path / "source", "--store", tmp_path / "copy", *arguments)
    assert refused.exit_code == 2
    assert complaint in " ".join(refused.output.split())


def test_it_follows_until_it_is_stopped(tmp_path: Path) -> None:
    source, copy, port = Store(tmp_path / "source"), Store(tmp_path / "copy"), free_port()
    command = [sys.executable, "-m", "twostage.cli", "generations", "sync", str(source.path)]
    flags = ["--store", str(copy.path), "--poll-seconds", "0.1", "--metrics-port", str(port)]
    with subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            first = json.loads(process.stderr.readline())
            assert (first["event"], first["level"]) == ("the source cannot be copied", "warning")
            for number in (1, 2):
                publish_small(source)
                wait_for(copy, number)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_once_that_is_stopped_does_not_end_as_if_all_were_copied(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "twostage.cli", "generations", "sync", str(tmp_path / "source")]
    flags = ["--store", str(tmp_path / "copy"), "--once", "--wait-seconds", "600"]
    with subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 1
        assert process.stderr.read().splitlines()[-1] == "Error: stopped before everything was copied"


def wait_for(store: Store, number: int) -> None:
    deadline = time.monotonic() + 60
    while not (store.path / "CURRENT").exists() or store.pointer() != number:
        assert time.monotonic() < deadline
        time.sleep(0.05)
