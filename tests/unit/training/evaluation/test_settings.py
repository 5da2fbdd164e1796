from __future__ import annotations

from training.evaluation.settings import EvaluationSettings, settings_for


def test_published_tasks_keep_the_settings_of_their_reference_figures() -> None:
    assert settings_for("goodbooks-10k", "liked").ease_regularization == 150
    assert settings_for("goodbooks-10k", "to_read").user_limit == 5_000
    assert settings_for("online-retail", "bought_new").user_limit is None


def test_other_tasks_have_the_defaults() -> None:
    assert settings_for("mine", "liked") == EvaluationSettings()
