"""A bar is shown to people who wait, and to nobody else."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from twostage.commands import transfer_progress as module


@pytest.mark.parametrize(
    ("is_terminal", "after_seconds", "shown"), [(True, 0.0, True), (True, 60.0, False), (False, 0.0, False)]
)
def test_a_bar_is_shown_on_a_terminal_when_the_work_takes_long(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, after_seconds: float, shown: bool
) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=is_terminal, width=100)
    monkeypatch.setattr(module, "make_console", lambda **_: console)
    monkeypatch.setattr(module, "SHOWN_AFTER_SECONDS", after_seconds)
    with module.transfer_progress("generation 3") as watch:
        for done in range(0, 3_000_001, 500_000):
            watch(done, 3_000_000)
    assert ("generation 3" in text.getvalue()) == shown
    assert ("3.0/3.0 MB" in text.getvalue()) == shown
    assert bool(text.getvalue()) == shown
