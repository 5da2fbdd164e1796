"""What can go wrong in training, beyond bad data (training.data.errors)."""

from __future__ import annotations


class TrainingError(Exception):
    """The root of training's errors."""


class ExportMismatch(TrainingError):
    """An exported model does not answer as the trained one; a bundle with it must not be published."""


class NothingToLearn(TrainingError):
    """The data set is too small to train on."""
