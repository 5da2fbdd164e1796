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
    assert (settings.port, settings.metrics_port, settings.store) == (3, 2, "from-file")
    assert settings.verify_checksums is False


def test_defaults_are_those_of_the_contract() -> None:
    settings = load_settings(RetrievalSettings, {"store": "here"})
    assert (settings.port, settings.metrics_port, settings.verify_checksums) == (50051, 9101, True)


def test_a_store_is_needed() -> None:
    with pytest.raises(SettingsError, match="TWOSTAGE_RETRIEVAL_STORE: expected a value"):
        load_settings(RetrievalSettings)


def test_a_generation_may_be_pinned_in_the_file_and_none_is_by_default(tmp_path: Path) -> None:
    assert load_settings(RetrievalSettings, {"store": "here"}).generation is None
    file = tmp_path / "retrieval.yaml"
    file.write_text("store: here\ngeneration: 3\n")
    assert load_settings(RetrievalSettings, {"config": str(file)}).generation == 3
    with pytest.raises(SettingsError, match="--generation: expected greater than or equal to 1, received '-1'"):
        load_settings(RetrievalSettings, {"store": "here", "generation": "-1"})


def test_a_shard_beside_milvus_is_refused_in_one_line() -> None:
    flags = {"store": "here", "shard": "0", "milvus_uri": "http://host:19530"}
    with pytest.raises(SettingsError, match=r"^milvus_uri: expected none beside a shard") as caught:
        load_settings(RetrievalSettings, flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shard", ["-1", "x"])
def test_a_wrong_shard_names_its_flag(shard: str) -> None:
    with pytest.raises(SettingsError, match="--shard: expected"):
        load_settings(RetrievalSettings, {"store": "here", "shard": shard})


def test_a_url_is_a_store_and_a_folder_may_be_a_path() -> None:
    assert load_settings(RetrievalSettings, {"store": "s3://bucket/prefix"}).store == "s3://bucket/prefix"
    assert load_settings(RetrievalSettings, {"store": Path("a") / "b"}).store == "a/b"
    with pytest.raises(SettingsError, match="--store: expected"):
        load_settings(RetrievalSettings, {"store": ""})


@pytest.mark.parametrize("seconds", ["-1", "3601", "nan", "soon"])
def test_the_time_between_looks_at_current_is_bounded(seconds: str) -> None:
    assert load_settings(RetrievalSettings, {"store": "here"}).generation_poll_seconds == 1.0
    assert (
        load_settings(RetrievalSettings, {"store": "here", "generation_poll_seconds": "0"}).generation_poll_seconds == 0
    )
    with pytest.raises(SettingsError, match="--generation-poll-seconds: expected"):
        load_settings(RetrievalSettings, {"store": "here", "generation_poll_seconds": seconds})
