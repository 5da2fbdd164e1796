"""The command line, refused before anything is loaded."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from model_server.flags import FlagError, Flags, parse_flags
from model_server.port import PortTakenError, require_free_port


def test_defaults_are_those_of_the_real_server(tmp_path: Path) -> None:
    flags = parse_flags([f"--model_base_path={tmp_path}"])
    assert (flags.port, flags.model_name, flags.file_system_poll_wait_seconds) == (8500, "default", 1)
    assert (flags.max_num_load_retries, flags.load_retry_interval_micros) == (5, 60_000_000)
    assert flags.enable_model_warmup
    assert not flags.enable_serialization_as_tensor_content


def test_flags_are_read_in_every_form() -> None:
    flags = parse_flags(
        [
            "--model_base_path=/m",
            "--port",
            "0",
            "--enable_model_warmup=false",
            "--enable_batching=false",
            "--allow_version_labels_for_unavailable_models",
            "--rest_api_port=0",
        ]
    )
    assert (flags.port, flags.enable_model_warmup, flags.allow_version_labels_for_unavailable_models) == (
        0,
        False,
        True,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus=1"], "unknown or unsupported flag: --bogus=1"),
        (["--mod=x"], "unknown or unsupported flag: --mod=x"),
        (["--rest_api_port=8501"], "--rest_api_port=8501 is not supported"),
        (["--enable_batching"], "--enable_batching=true is not supported"),
        (["--port=abc"], "argument --port: invalid int value: 'abc'"),
        (["--port=65536"], "--port=65536: expected 0 to 65535"),
        (["--port=-1"], "--port=-1: expected 0 or more"),
        (["--file_system_poll_wait_seconds=-1"], "--file_system_poll_wait_seconds=-1: expected 0 or more"),
        (["--grpc_max_threads=0"], "--grpc_max_threads=0: expected 1 or more"),
        (["--enable_model_warmup=maybe"], "expected true or false, got 'maybe'"),
        (["--model_config_file=/no/such/file"], "--model_config_file=/no/such/file: no such file"),
    ],
)
def test_a_flag_that_cannot_be_served_is_refused_by_name(arguments: list[str], message: str) -> None:
    with pytest.raises(FlagError) as raised:
        parse_flags(["--model_base_path=/m", *arguments])
    assert message in str(raised.value)


def test_no_model_at_all_is_refused() -> None:
    with pytest.raises(FlagError, match="neither was given"):
        parse_flags([])


def test_the_process_ends_with_1_and_one_line_before_tensorflow_is_loaded() -> None:
    program = """
import sys
from model_server.__main__ import main
code = main(["--bogus"])
assert not [name for name in sys.modules if name.startswith("tensorflow")]
sys.exit(code)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (
        1,
        "Failed to start server. Error: unknown or unsupported flag: --bogus\n",
    )


def test_a_taken_port_is_found_and_a_free_one_is_not_kept() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        with pytest.raises(PortTakenError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            require_free_port(Flags(port=port))
    require_free_port(Flags(port=port))
    require_free_port(Flags(port=port))
