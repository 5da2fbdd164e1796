from __future__ import annotations

from pathlib import Path

import pytest

from retrieval_service.settings import RetrievalSettings
from twostage.rpc.security.private_files import SecretInvalid
from twostage.rpc.settings import SettingsError, load_settings


def test_what_milvus_asks_for_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("root:Milvus\n")
    assert load_settings(RetrievalSettings, {"store": "s"}).milvus_secret() == ""
    assert load_settings(RetrievalSettings, {"store": "s", "milvus_token_file": path}).milvus_secret() == "root:Milvus"
    monkeypatch.setenv("TWOSTAGE_RETRIEVAL_MILVUS_TOKEN", "a:b")
    settings = load_settings(RetrievalSettings, {"store": "s"})
    assert settings.milvus_secret() == "a:b"
    assert "a:b" not in repr(settings)
    with pytest.raises(SettingsError, match="milvus_token_file: expected none beside milvus_token"):
        load_settings(RetrievalSettings, {"store": "s", "milvus_token_file": path})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = load_settings(RetrievalSettings, {"store": "s", "milvus_token_file": tmp_path / "nix"})
    with pytest.raises(SecretInvalid, match="milvus_token_file: expected a readable file"):
        settings.milvus_secret()
