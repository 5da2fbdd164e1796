"""What is raised when a log cannot be read."""

from __future__ import annotations


class LogError(Exception):
    """A log is absent, damaged or of another version; the message is one line that says what was expected and found."""
