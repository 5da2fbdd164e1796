from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.impressions.opening import open_logs
from gateway.settings import GatewaySettings
from tests.unit.gateway.impressions.answers import logged, served
from twostage.impressions.log import open_log
from twostage.impressions.user_key import UserKeys
from twostage.rpc.settings import SettingsError, load_settings

SECRET = "a secret of the tests"


def settings(folder: Path, **more: Any) -> GatewaySettings:
    return load_settings(GatewaySettings, {"store": str(folder / "store"), "users": str(folder / "users"), **more})


def key_file(folder: Path, content: str = SECRET) -> Path:
    path = folder / "key"
    path.write_text(content + "\n")
    return path


def test_nothing_is_logged_unless_a_folder_is_named(tmp_path: Path) -> None:
    assert open_logs(settings(tmp_path, impressions_key_file=key_file(tmp_path)), CollectorRegistry()) is None


def test_the_secret_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    from_file = open_logs(
        settings(tmp_path, impressions=log, impressions_key_file=key_file(tmp_path)), CollectorRegistry()
    )
    assert from_file is not None
    from_file.recorder.note(served())
    from_file.close(20.0)
    monkeypatch.setenv("TWOSTAGE_GATEWAY_IMPRESSIONS_KEY", SECRET)
    from_environment = open_logs(settings(tmp_path, impressions=log), CollectorRegistry())
    assert from_environment is not None
    from_environment.recorder.note(served())
    from_environment.close(20.0)
    assert {each.user_key for each in logged(log)} == {UserKeys(SECRET.encode()).user("ann")}
    assert len(open_log(log).secret_fingerprints) == 1


def test_a_log_without_a_secret_must_be_asked_for_and_has_no_people(tmp_path: Path) -> None:
    made = open_logs(settings(tmp_path, impressions=tmp_path / "log", impressions_unkeyed=True), CollectorRegistry())
    assert made is not None
    made.recorder.note(served())
    made.close(20.0)
    assert [each.user_key for each in logged(tmp_path / "log")] == [""]


def test_the_settings_decide_what_is_logged(tmp_path: Path) -> None:
    told = {"impressions_share": "0", "impressions_candidates": "3"}
    given = settings(tmp_path, impressions=tmp_path / "log", impressions_unkeyed="true", **told)
    made = open_logs(given, CollectorRegistry())
    assert made is not None
    made.recorder.note(served())
    made.close(20.0)
    assert list((tmp_path / "log").iterdir()) == []


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "impressions_key_file: expected the file of a secret .* received none"),
        ({"impressions_unkeyed": True, "impressions_key": SECRET}, "impressions_unkeyed: expected no key .* a key$"),
        ({"impressions_key": "short"}, "impressions_key_file: expected a secret of at least 16 bytes, received 5"),
        ({"impressions_key_file": "/nowhere/key"}, "expected a file that can be read, received /nowhere/key: No such"),
        ({"impressions_key_file": "/nowhere", "impressions_key": SECRET}, "received a key and a key file"),
    ],
)
def test_a_wrong_secret_is_refused_and_never_told(tmp_path: Path, more: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told) as refused:
        open_logs(settings(tmp_path, impressions=tmp_path / "log", **more), CollectorRegistry())
    assert SECRET not in str(refused.value)
    assert "short" not in str(refused.value)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"impressions: expected a folder that can be written, received .*file"):
        open_logs(settings(tmp_path, impressions=tmp_path / "file", impressions_unkeyed=True), CollectorRegistry())


@pytest.mark.parametrize(
    ("name", "value"), [("share", "1.5"), ("candidates", "2001"), ("roll_seconds", "0"), ("max_age_days", "-1")]
)
def test_values_out_of_bounds_are_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"--impressions-{name.replace('_', '-')}: expected .* received '{value}'"):
        settings(tmp_path, **{f"impressions_{name}": value})
