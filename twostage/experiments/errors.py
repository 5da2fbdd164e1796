"""What can be wrong with a file of experiments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class ExperimentsInvalid(ValueError):
    """A file of experiments is not what it should be.

    Args:
        path: The file.
        complaints: One line each, at least one: which experiment, which field, what was expected, what came.

    The message is one line: the file's name, the first complaint and how many more there are.
    """

    def __init__(self, path: Path, complaints: Sequence[str]) -> None:
        self.path = path
        self.complaints = tuple(complaints)
        more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
        super().__init__(f"{path.name}: {complaints[0]}{more}")
