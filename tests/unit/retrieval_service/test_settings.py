from __future__ import annotations

from pathlib import Path

import pytest

from retrieval_service.settings import RetrievalSettings
from twostage.rpc.settings import SettingsError, load_settings


def test_flags_win_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "retrieval.yaml"
    file.write_text("store: from-file\nport: 1\nmetrics_port: 1\nverify_checksums: false\n")
    monkeypatch.setenv("TWOSTAGE_RETRIEVAL_PORT", "2")
    monkeypatch.setenv("TWOSTAGE_RETRIEVAL_METRICS_PORT", "2")
    settings = load_settings(RetrievalSettings, {"config": str(file), "port": "3", "verify_checksums": None})
    assert (settings.port, settings.metrics_port, settings.store) == (3, 2, Path("from-file"))
    assert settings.verify_checksums is False


def test_defaults_are_those_of_the_contract() -> None:
    settings = load_settings(RetrievalSettings, {"store": "here"})
    assert (settings.port, settings.metrics_port, settings.verify_checksums) == (50051, 9101, True)


def test_a_store_is_needed() -> None:
    with pytest.raises(SettingsError, match="TWOSTAGE_RETRIEVAL_STORE: expected a value"):
        load_settings(RetrievalSettings)
