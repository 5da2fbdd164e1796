"""What can go wrong in training, beyond bad data (training.data.errors)."""

from __future__ import annotations


class TrainingError(Exception):
    """The root of training's errors."""


class ExportMismatch(TrainingError):
    """An exported model does not answer as the trained one; a bundle with it must not be published."""


class NothingToLearn(TrainingError):
    """The data set is too small to train on."""


class NothingToFind(TrainingError, ValueError):
    """Nobody did in the held-out part what a task of the evaluation asks for."""


class RankersInvalid(TrainingError):
    """Rankers that cannot be: a name is unknown or given twice, there is none, or the data lack what one needs."""


class RankerNotFinite(TrainingError):
    """A loss, a weight or a score of a ranker is NaN or infinite; a model with it must not be published."""
