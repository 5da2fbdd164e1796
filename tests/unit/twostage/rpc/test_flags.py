from __future__ import annotations

import subprocess
import sys

import pytest

from twostage.rpc.flags import run_server, service_parser


def test_flags_are_text_by_field_name_and_none_where_not_given() -> None:
    parser = service_parser("some_service", "Does it.", {"own-flag": ("N", "a number")}, port=1, metrics_port=2)
    flags = vars(parser.parse_args(["--own-flag", "x", "--port", "0", "--log-level", "INFO"]))
    assert {name: value for name, value in flags.items() if value is not None} == {
        "own_flag": "x",
        "port": "0",
        "log_level": "INFO",
    }
    assert {"config", "store", "generation", "host", "metrics_port", "log_requests"} <= set(flags)


def test_the_help_names_the_variables_and_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        service_parser("some_service", "Does it.", {}, port=50099, metrics_port=9199).parse_args(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Does it. Every setting may also come from the environment, TWOSTAGE_SOME_<NAME>" in text
    assert "50099" in text
    assert "9199" in text


def test_reading_flags_loads_no_library_that_reads_the_environment() -> None:
    program = (
        "import sys, twostage.rpc.flags; sys.exit(', '.join({'numpy', 'grpc', 'pydantic'} & set(sys.modules)) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("library", ["faiss", "ai_edge_litert"])
def test_a_service_whose_library_is_missing_names_the_extra_in_one_line(library: str) -> None:
    program = (
        f"import sys; sys.modules[{library!r}] = None; from retrieval_service.__main__ import main; "
        "sys.exit(main(['--store', 'none']))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("retrieval: error: ")
    assert library in ended.stderr
    assert ended.stderr.endswith("install the extra `retrieval`: pip install 'twostage[retrieval]'\n")
    assert ended.stderr.count("\n") == 1


def test_a_missing_module_of_our_own_is_a_defect_and_shows_its_traceback() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"twostage\.nowhere"):
        run_server("twostage.nowhere", {})
