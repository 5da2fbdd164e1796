"""The command line, refused before anything is loaded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from model_server.flags import FlagError, parse_flags
from model_server.real_flags import REFUSED

_CPU_COUNT = len(os.sched_getaffinity(0))
# Every flag that tensorflow_model_server 2.20 prints, with its default and a value of its type.
_REAL_FLAGS = """
port=8500 grpc_socket_path= rest_api_port=0 rest_api_num_threads=8 rest_api_timeout_in_ms=30000
rest_api_enable_cors_support=false enable_batching=false allow_version_labels_for_unavailable_models=false
batching_parameters_file= enable_per_model_batching_parameters=false model_config_file=
model_config_file_poll_wait_seconds=0 model_name=default model_base_path=/m num_load_threads=0 num_unload_threads=0
max_num_load_retries=5 load_retry_interval_micros=60000000 file_system_poll_wait_seconds=1
flush_filesystem_caches=true tensorflow_session_parallelism=0 tensorflow_session_config_file=
tensorflow_intra_op_parallelism=0 tensorflow_inter_op_parallelism=0 use_alts_credentials=false ssl_config_file=
platform_config_file= per_process_gpu_memory_fraction=0.0 saved_model_tags=serve grpc_channel_arguments=
grpc_max_threads=8 enable_model_warmup=true num_request_iterations_for_warmup=0 version=false monitoring_config_file=
remove_unused_fields_from_bundle_metagraph=true prefer_tflite_model=false num_tflite_pools=2
num_tflite_interpreters_per_pool=1 enable_signature_method_name_check=false xla_cpu_compilation_enabled=false
xla_gpu_compilation_enabled=false enable_profiler=true thread_pool_factory_config_file= mixed_precision=
skip_initialize_tpu=false enable_grpc_healthcheck_service=false enable_serialization_as_tensor_content=false
"""
# What this server can say of a flag whose default in the real one asks for something that is not here.
_REFUSED_DEFAULTS = {"enable_profiler", "num_tflite_pools", "num_tflite_interpreters_per_pool"}


def test_defaults_are_those_of_the_real_server() -> None:
    flags = parse_flags(["--model_base_path=/m"])
    assert (flags.port, flags.rest_api_port, flags.model_name) == (8500, 0, "default")
    assert (flags.grpc_max_threads, flags.rest_api_num_threads) == (4 * _CPU_COUNT, 4 * _CPU_COUNT)
    assert (flags.max_num_load_retries, flags.load_retry_interval_micros) == (5, 60_000_000)
    assert (flags.file_system_poll_wait_seconds, flags.model_config_file_poll_wait_seconds) == (1, 0)
    assert flags.rest_api_timeout_in_ms == 30_000
    assert (flags.enable_model_warmup, flags.flush_filesystem_caches) == (True, True)
    assert not flags.enable_serialization_as_tensor_content
    assert not flags.enable_grpc_healthcheck_service
    assert not flags.enable_signature_method_name_check
    assert not flags.allow_version_labels_for_unavailable_models


@pytest.mark.parametrize("flag", [one for one in _REAL_FLAGS.split() if one.partition("=")[0] not in _REFUSED_DEFAULTS])
def test_every_flag_of_the_real_server_may_say_its_default(flag: str) -> None:
    parse_flags(["--model_base_path=/m", f"--{flag}"])


def test_no_flag_of_the_real_server_is_unknown() -> None:
    for name in (one.partition("=")[0] for one in _REAL_FLAGS.split()):
        try:
            parse_flags(["--model_base_path=/m", f"--{name}=7"])
        except FlagError as error:
            assert name in str(error)  # noqa: PT017  - some of them take a 7
            assert "unknown" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--enable_batching", "batching on the server is not offered: it returns callers each other's rows"),
        ("--enable_batching=true", "batching"),
        ("--batching_parameters_file=/b.txt", "batching"),
        ("--enable_per_model_batching_parameters=true", "batching"),
        ("--rest_api_enable_cors_support=true", "not browsers"),
        ("--tensorflow_session_config_file=/s.txt", "--tensorflow_intra_op_parallelism"),
        ("--use_alts_credentials=true", "--ssl_config_file"),
        ("--platform_config_file=/p.txt", "the only platform is tensorflow"),
        ("--per_process_gpu_memory_fraction=0.5", "on the CPU"),
        ("--saved_model_tags=serve,gpu", "by the tag serve"),
        ("--remove_unused_fields_from_bundle_metagraph=false", "never kept"),
        ("--prefer_tflite_model=true", "only SavedModels"),
        ("--num_tflite_pools=2", "only SavedModels"),
        ("--num_tflite_interpreters_per_pool=1", "only SavedModels"),
        ("--xla_cpu_compilation_enabled=true", "without XLA"),
        ("--xla_gpu_compilation_enabled=true", "without XLA"),
        ("--enable_profiler=true", "no profiler service"),
        ("--enable_profiler", "no profiler service"),
        ("--thread_pool_factory_config_file=/t.txt", "own thread pools"),
        ("--mixed_precision=bfloat16", "in the precision they were exported in"),
        ("--skip_initialize_tpu=true", "on the CPU"),
    ],
)
def test_what_is_not_offered_is_refused_by_name_with_a_reason(flag: str, reason: str) -> None:
    with pytest.raises(FlagError, match=re.escape(reason)) as raised:
        parse_flags(["--model_base_path=/m", flag])
    name, _, value = flag.partition("=")
    assert str(raised.value).startswith(f"{name}={value or 'true'} is not supported by the embedded server: ")
    assert name.removeprefix("--") in REFUSED


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus=1"], "unknown flag: --bogus=1"),
        (["--mod=x"], "unknown flag: --mod=x"),
        (["stray"], "unknown flag: stray"),
        (["--port=abc"], "argument --port: invalid int value: 'abc'"),
        (["--port=65536"], "--port=65536: expected 0 to 65535"),
        (["--rest_api_port=65536"], "--rest_api_port=65536: expected 0 to 65535"),
        (["--port=-1"], "--port=-1: expected 0 to 65535"),
        (["--port=8600", "--rest_api_port=8600"], "--rest_api_port=8600: expected another port than --port"),
        (["--file_system_poll_wait_seconds=-1"], "--file_system_poll_wait_seconds=-1: expected 0 or more"),
        (["--model_config_file_poll_wait_seconds=-1"], "--model_config_file_poll_wait_seconds=-1: expected 0 or more"),
        (["--model_config_file_poll_wait_seconds=1"], "expected --model_config_file too"),
        (["--grpc_max_threads=0"], "--grpc_max_threads=0: expected 1 or more"),
        (["--rest_api_num_threads=0"], "--rest_api_num_threads=0: expected 1 or more"),
        (["--rest_api_timeout_in_ms=0"], "--rest_api_timeout_in_ms=0: expected 1 or more"),
        (["--num_request_iterations_for_warmup=-1"], "--num_request_iterations_for_warmup=-1: expected 0 or more"),
        (["--enable_model_warmup=maybe"], "expected true or false, got 'maybe'"),
        (["--grpc_channel_arguments=a=1,b"], "--grpc_channel_arguments: expected name=value with commas between"),
        (["--aspired_version_policy=mine"], "--aspired_version_policy=mine: expected availability_preserving or"),
        (["--monitoring_config_file=/x"], "--monitoring_config_file: expected --rest_api_port too"),
        (
            [f"--tensorflow_{one}_parallelism=2" for one in ("session", "intra_op", "inter_op")],
            "--tensorflow_session_parallelism: expected without both",
        ),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_name(arguments: list[str], message: str) -> None:
    with pytest.raises(FlagError) as raised:
        parse_flags(["--model_base_path=/m", *arguments])
    assert message in str(raised.value)


@pytest.mark.parametrize("name", ["model_config_file", "ssl_config_file", "monitoring_config_file"])
def test_a_file_that_cannot_be_read_is_named_with_its_flag(name: str, tmp_path: Path) -> None:
    others = ["--model_base_path=/m", "--rest_api_port=8501"]
    with pytest.raises(FlagError) as raised:
        parse_flags([*others, f"--{name}=/no/such/file"])
    assert str(raised.value) == f"--{name}=/no/such/file: No such file or directory"
    with pytest.raises(FlagError, match="Is a directory"):
        parse_flags([*others, f"--{name}={tmp_path}"])


def test_flags_are_read_in_every_form() -> None:
    flags = parse_flags(
        [
            "--model_base_path=/m",
            "--port",
            "0",
            "--enable_model_warmup=false",
            "--enable_batching=false",
            "--enable_profiler=false",
            "--allow_version_labels_for_unavailable_models",
            "--rest_api_port=0",
            "--load_retry_interval_micros=-1",
            "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.primary_user_agent=me",
        ]
    )
    assert (flags.port, flags.enable_model_warmup, flags.load_retry_interval_micros) == (0, False, -1)
    assert flags.allow_version_labels_for_unavailable_models
    assert flags.channel_arguments == (("grpc.max_connection_age_ms", 2000), ("grpc.primary_user_agent", "me"))


def test_a_channel_argument_that_is_no_int_of_c_is_a_text_as_in_the_real_server() -> None:
    flags = parse_flags(["--model_base_path=/m", f"--grpc_channel_arguments=a={2**31},b={2**31 - 1},c={-(2**31)}"])
    assert flags.channel_arguments == (("a", str(2**31)), ("b", 2**31 - 1), ("c", -(2**31)))


@pytest.mark.parametrize(
    ("given", "threads"),
    [([], (0, 0)), (["session=3"], (3, 3)), (["intra_op=2", "session=3"], (2, 0)), (["inter_op=1"], (0, 1))],
)
def test_threads_are_set_together_or_apart(given: list[str], threads: tuple[int, int]) -> None:
    arguments = [f"--tensorflow_{name}_parallelism={count}" for name, _, count in (one.partition("=") for one in given)]
    flags = parse_flags(["--model_base_path=/m", *arguments])
    assert (flags.intra_op_threads, flags.inter_op_threads) == threads


def test_no_model_at_all_is_refused_in_the_words_of_the_real_server() -> None:
    with pytest.raises(FlagError) as raised:
        parse_flags([])
    assert str(raised.value) == (
        "INVALID_ARGUMENT: Both server_options.model_base_path and server_options.model_config_file are empty!"
    )


def test_the_process_ends_with_255_and_one_line_before_tensorflow_is_loaded() -> None:
    program = """
import sys
from model_server.__main__ import main
code = main(["--bogus"])
assert not [name for name in sys.modules if name.startswith("tensorflow")]
sys.exit(code)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (255, "Failed to start server. Error: unknown flag: --bogus\n")


def test_the_versions_are_told_without_a_model() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "model_server", "--version"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    assert re.fullmatch(r"TensorFlow ModelServer: \S.*\nTensorFlow Library: 2\.\d+\.\d+\n", ended.stdout)
