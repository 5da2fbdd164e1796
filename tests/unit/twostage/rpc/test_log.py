from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from tests.logging_state import logging_restored
from twostage.rpc.log import configure_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with logging_restored():
        yield


def test_a_pipe_gets_one_json_object_a_line() -> None:
    out = io.StringIO()
    logger = configure_logging("ranking", stream=out)
    logger.info("loaded", generation=7)
    logging.getLogger("grpc._server").warning("from a %s", "library")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "loaded", "generation": 7, "level": "info", "service": "ranking"}
    assert (second["event"], second["logger"], second["service"]) == ("from a library", "grpc._server", "ranking")


def test_a_terminal_gets_readable_lines() -> None:
    out = Terminal()
    configure_logging("ranking", stream=out).info("loaded", generation=7)
    assert "loaded" in out.getvalue()
    assert not out.getvalue().startswith("{")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_tracebacks_tell_no_local_variables(log_format: str) -> None:
    out = io.StringIO()
    logger = configure_logging("ranking", log_format="json" if log_format == "json" else "console", stream=out)
    secret_vector = [0.125] * 4
    try:
        raise ValueError(len(secret_vector))  # noqa: TRY301 - a traceback is wanted
    except ValueError:
        logger.exception("failed")
    assert "ValueError" in out.getvalue()
    assert "0.125, 0.125" not in out.getvalue()


def test_lower_levels_are_left_out() -> None:
    out = io.StringIO()
    logger = configure_logging("ranking", level="WARNING", stream=out)
    logger.info("unheard")
    logging.getLogger("x").info("unheard")
    assert out.getvalue() == ""
