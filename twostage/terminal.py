"""Where people read: a terminal of any width, or a file."""

from __future__ import annotations

from rich.console import Console

WIDTH_WITHOUT_TERMINAL = 140
"""Columns of what is written to a file or a pipe, which has no width of its own."""


def make_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or wide enough for our tables where there is none; no colour guesses."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH_WITHOUT_TERMINAL)
    return console
