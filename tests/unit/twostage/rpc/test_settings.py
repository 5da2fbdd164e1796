from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from twostage.rpc.settings import Port, ServiceSettings, SettingsError, load_settings


class RoomSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TWOSTAGE_ROOM_")

    port: Port = 50099
    names: tuple[str, ...] = ()
    password: SecretStr | None = None
    pin: SecretStr = SecretStr("0000")


def test_defaults_stand_alone() -> None:
    settings = load_settings(RoomSettings)
    assert (settings.host, settings.port, settings.metrics_port, settings.log_requests) == (
        "127.0.0.1",
        50099,
        0,
        "errors",
    )


def test_flags_win_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "room.yaml"
    file.write_text("port: 1\nmax_workers: 2\ngrace_seconds: 3.5\n", encoding="utf-8")
    monkeypatch.setenv("TWOSTAGE_ROOM_CONFIG", str(file))
    monkeypatch.setenv("TWOSTAGE_ROOM_PORT", "11")
    monkeypatch.setenv("TWOSTAGE_ROOM_MAX_WORKERS", "12")
    settings = load_settings(RoomSettings, {"port": 111, "host": None})
    assert (settings.port, settings.max_workers, settings.grace_seconds) == (111, 12, 3.5)
    assert settings.config == file


def test_the_config_flag_wins_over_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text("port: 1", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("port: 2", encoding="utf-8")
    monkeypatch.setenv("TWOSTAGE_ROOM_CONFIG", str(tmp_path / "a.yaml"))
    assert load_settings(RoomSettings).port == 1
    assert load_settings(RoomSettings, {"config": tmp_path / "b.yaml"}).port == 2


def test_settings_cannot_be_changed() -> None:
    settings = load_settings(RoomSettings)
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("PORT", "seventy", ("TWOSTAGE_ROOM_PORT", "integer", "'seventy'")),
        ("PORT", "65536", ("TWOSTAGE_ROOM_PORT", "65535", "'65536'")),
        ("LOG_LEVEL", "LOUD", ("TWOSTAGE_ROOM_LOG_LEVEL", "'DEBUG'", "'ERROR'", "'LOUD'")),
        ("GRACE_SECONDS", "-1", ("TWOSTAGE_ROOM_GRACE_SECONDS", "greater than or equal to 0", "'-1'")),
        ("NAMES", "not json", ("TWOSTAGE_ROOM_", "names")),
    ],
)
def test_a_bad_variable_is_named_with_value_and_expectation(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv(f"TWOSTAGE_ROOM_{variable}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings(RoomSettings)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_a_bad_flag_is_named_as_a_flag() -> None:
    with pytest.raises(SettingsError, match=r"^--max-workers: expected .* 1, received 0$"):
        load_settings(RoomSettings, {"max_workers": 0})


def test_a_bad_value_in_the_file_is_named_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "room.yaml"
    file.write_text("port: x\nprot: 1\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(RoomSettings, {"config": file})
    message = str(caught.value)
    assert f"port in {file}: expected a valid integer" in message
    assert f"prot in {file}: expected one of the settings" in message
    assert "unknown name" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"- 1\n", "list"), (b"a: [1", "expected YAML"), (b"\xff\xfe\x00", "expected YAML"), (b"1: 2", "names")],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "room.yaml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=words) as caught:
        load_settings(RoomSettings, {"config": file})
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"config: expected a readable YAML file, received .*none\.yaml"):
        load_settings(RoomSettings, {"config": tmp_path / "none.yaml"})


def test_an_empty_file_and_an_empty_variable_set_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "room.yaml"
    file.write_text("# nothing\n", encoding="utf-8")
    monkeypatch.setenv("TWOSTAGE_ROOM_PORT", "")
    assert load_settings(RoomSettings, {"config": file}).port == 50099


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "room.yaml"
    file.write_text("password: [hunter2]\npin: [1234]\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(RoomSettings, {"config": file})
    assert "hunter2" not in str(caught.value)
    assert "1234" not in str(caught.value)


@pytest.mark.parametrize("value", ["auto", "0", 0])
def test_auto_stands_for_the_cores_that_may_be_used(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twostage.rpc.settings.usable_core_count", lambda: 5)
    monkeypatch.setattr("sys.platform", "linux")
    assert load_settings(RoomSettings, {"processes": value}).process_count == 5


def test_where_connections_are_not_spread_one_process_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert load_settings(RoomSettings, {"processes": "auto"}).process_count == 1
    with pytest.raises(SettingsError, match=r"^--processes: expected 1 or auto, because only Linux .*, received '2'$"):
        load_settings(RoomSettings, {"processes": "2"})


@pytest.mark.parametrize("value", ["", "two", "-1", "257", "1.5", 2.0, True, "²", [2]])
def test_a_wrong_number_of_processes_is_refused(value: object) -> None:
    with pytest.raises(SettingsError, match=r"^--processes: expected a whole number from 0 to 256 or auto, received"):
        load_settings(RoomSettings, {"processes": value})


def test_a_service_is_one_process_unless_told() -> None:
    assert load_settings(RoomSettings).process_count == 1
