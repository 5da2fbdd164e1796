"""What can go wrong inside ranking beside what the caller did wrong.

::

    RankingError
    ├── ModelAnswerInvalid     the model answered another shape than its manifest says, or no numbers
    └── GoldenMismatch         the model does not answer what the bundle says it should
"""

from __future__ import annotations


class RankingError(Exception):
    """A model does not do what the bundle says; the message is one clear line."""


class ModelAnswerInvalid(RankingError):
    """A model's answer cannot be used.

    Args:
        model: The model's name.
        version: The version asked.
        expected: What an answer should be.
        received: What came.
    """

    def __init__(self, model: str, version: int, expected: str, received: str) -> None:
        super().__init__(f"model {model} version {version}: expected {expected}, received {received}")


class GoldenMismatch(RankingError):
    """A golden question got another answer than the one published with the generation."""
