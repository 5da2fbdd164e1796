from __future__ import annotations

import logging

from gateway.http.log_bound import LogBound


def test_few_warnings_pass_in_a_second_and_all_errors() -> None:
    now = 5.0
    bound = LogBound(3, lambda: now)
    warning, error = (logging.LogRecord("uvicorn.error", level, "", 0, "m", (), None) for level in (30, 40))
    assert [bound.filter(warning) for _ in range(5)] == [True, True, True, False, False]
    assert bound.filter(error)
    now = 6.0
    assert bound.filter(warning)
