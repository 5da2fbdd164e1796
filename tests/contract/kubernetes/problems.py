"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One fault of a manifest.

    Args:
        check: The rule that is broken, in a word or two, e.g. ``probe``.
        subject: Where, e.g. ``Deployment/gateway container gateway``.
        message: What was expected and what was found.
    """

    check: str
    subject: str
    message: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.check}: {self.subject}: {self.message}"
