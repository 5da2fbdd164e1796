from __future__ import annotations

from pathlib import Path

import pytest

from gateway.server import _open_catalogue
from gateway.settings import GatewaySettings
from gateway.users.opening import access_from_environment
from gateway.users.store import UserStoreUnavailable
from tests.unit.gateway.catalogue import publish_items
from twostage.bundle.store import Store
from twostage.rpc.settings import SettingsError, load_settings


def load(**flags: object) -> GatewaySettings:
    return load_settings(GatewaySettings, {"store": "/store", **flags})


def test_a_file_or_a_url_is_where_users_are() -> None:
    assert load(users="users.sqlite").users_access().location in (Path("users.sqlite"), "users.sqlite")
    access = load(users="redis://cache/2", users_ttl_days="0.5", users_timeout_ms="50").users_access()
    assert (access.location, access.ttl_seconds, access.timeout_seconds) == ("redis://cache/2", 43_200, 0.05)
    assert load(users="users.sqlite").users_access().ttl_seconds is None


@pytest.mark.parametrize("users", ["redis://:hunter2@cache", "redis://hunter2:hunter2@cache/0"])
def test_a_password_in_the_url_stops_the_gateway_and_is_not_repeated(users: str) -> None:
    with pytest.raises(SettingsError, match="users: expected a URL without a password") as refused:
        load(users=users)
    assert "hunter2" not in str(refused.value)


def test_a_password_comes_from_the_environment_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOSTAGE_GATEWAY_USERS_PASSWORD", "hunter2")
    monkeypatch.setenv("TWOSTAGE_GATEWAY_USERS_TTL_DAYS", "30")
    settings = load(users="redis://cache")
    assert settings.users_access().password == "hunter2"
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(settings.users_access())
    beside = access_from_environment("redis://cache")
    assert (beside.password, beside.ttl_seconds) == ("hunter2", 30 * 86_400)
    with pytest.raises(SettingsError, match="users_password_file: expected it without users_password"):
        load(users="redis://cache", users_password_file="/secret")


def test_days_that_are_no_number_are_told_by_an_import_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOSTAGE_GATEWAY_USERS_TTL_DAYS", "long")
    with pytest.raises(UserStoreUnavailable, match="USERS_TTL_DAYS: expected a number of days, received 'long'"):
        access_from_environment("users.sqlite")


@pytest.mark.parametrize(
    ("name", "value"),
    [("users_ttl_days", "-1"), ("users_ttl_days", "nan"), ("users_timeout_ms", "0"), ("users", "redis://")],
)
def test_a_wrong_value_is_told_with_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name.replace("_", "[_-]")):
        load(**{"users": "users.sqlite", name: value})


def test_weights_are_for_actions_that_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOSTAGE_GATEWAY_TASTE_WEIGHTS", '{"to_read": 0.25}')
    assert load(users="users.sqlite").taste_weights == {"to_read": 0.25}
    monkeypatch.setenv("TWOSTAGE_GATEWAY_TASTE_WEIGHTS", '{"to_read": 1.25}')
    with pytest.raises(SettingsError, match="TASTE_WEIGHTS"):
        load(users="users.sqlite")
    publish_items(tmp_path, popularity=[1.0] * 3)
    catalogue = _open_catalogue(Store(tmp_path), 1, 1, {"to_read": 0.5})
    events = [(f"i{number}", "to_read", None, number) for number in range(9)]
    likes = [(f"l{number}", "liked", None, number) for number in range(9)]
    picked = [event.item_id for event in catalogue.taste.newest([*events, *likes], 4)]
    assert picked == ["l1", "l0", "i1", "i0"]
    with pytest.raises(SettingsError, match=r"taste_weights: expected names among rated, to_read, liked, .* 'sold'"):
        _open_catalogue(Store(tmp_path), 1, 1, {"sold": 0.5})
