from __future__ import annotations

import pytest

from ranking_service.settings import RankingSettings
from twostage.rpc.settings import SettingsError, load_settings


def test_the_defaults_are_the_documented_ports_and_addresses() -> None:
    settings = load_settings(RankingSettings, {"store": "store"})
    assert (settings.port, settings.metrics_port, settings.model_server) == (50052, 9102, "127.0.0.1:8500")


def test_the_environment_is_read_under_the_services_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOSTAGE_RANKING_STORE", "elsewhere")
    monkeypatch.setenv("TWOSTAGE_RANKING_MODEL_SERVER", "unix:///run/model.sock")
    settings = load_settings(RankingSettings)
    assert (str(settings.store), settings.model_server) == ("elsewhere", "unix:///run/model.sock")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "TWOSTAGE_RANKING_STORE: expected a value, received none"),
        ({"store": "s", "port": "70000"}, "--port: expected .*65535, received '70000'"),
        ({"store": "s", "generation": "0"}, "--generation: expected greater than or equal to 1, received '0'"),
        ({"store": "s", "generation": "last"}, "--generation: expected .*integer.*, received 'last'"),
        ({"store": "s", "model_server": ""}, "--model-server: expected"),
        ({"store": "s", "model_server_wait_seconds": "soon"}, "--model-server-wait-seconds: expected .*number"),
    ],
)
def test_a_wrong_setting_is_named(flags: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(RankingSettings, flags)


def test_a_generation_may_be_pinned_and_none_is_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(RankingSettings, {"store": "s"}).generation is None
    monkeypatch.setenv("TWOSTAGE_RANKING_GENERATION", "7")
    assert load_settings(RankingSettings, {"store": "s"}).generation == 7
    assert load_settings(RankingSettings, {"store": "s", "generation": "6"}).generation == 6


def test_the_model_servers_config_is_left_alone_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(RankingSettings, {"store": "s"})
    assert (settings.model_config_file, settings.model_retire_seconds, settings.generation_poll_seconds) == (
        None,
        10,
        1,
    )
    monkeypatch.setenv("TWOSTAGE_RANKING_MODEL_CONFIG_FILE", "/run/models.config")
    assert str(load_settings(RankingSettings, {"store": "s"}).model_config_file) == "/run/models.config"
