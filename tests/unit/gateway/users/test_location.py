from __future__ import annotations

from pathlib import Path

import pytest

from gateway.users.location import RedisAddress, parse_users_location


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("redis://cache", RedisAddress("cache"), "redis://cache:6379/0"),
        ("redis://cache:7000/3", RedisAddress("cache", 7000, database=3), "redis://cache:7000/3"),
        ("rediss://app@cache.example/", RedisAddress("cache.example", tls=True, username="app"), None),
        ("redis://[::1]:7000", RedisAddress("::1", 7000), "redis://[::1]:7000/0"),
        ("unix:///run/redis.sock", RedisAddress(socket="/run/redis.sock"), "unix:///run/redis.sock"),
        ("unix:///run/a%20b?db=2", RedisAddress(socket="/run/a b", database=2), "unix:///run/a b?db=2"),
    ],
)
def test_a_url_names_a_server_and_a_database(text: str, address: RedisAddress, shown: str | None) -> None:
    assert parse_users_location(text) == address
    if shown is not None:
        assert str(address) == shown


def test_who_signs_in_is_not_shown() -> None:
    assert str(parse_users_location("rediss://app@cache/1")) == "rediss://cache:6379/1"


@pytest.mark.parametrize("text", ["users.sqlite", "/var/lib/users.sqlite", "redis:", "a:/b"])
def test_anything_else_is_a_file(text: str) -> None:
    assert parse_users_location(text) == Path(text)
    assert parse_users_location(Path(text)) == Path(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://cache",
        "redis://",
        "redis://cache:99999",
        "redis://cache:x",
        "redis://cache/name",
        "redis://cache?db=1",
        "redis://cache#1",
        "redis://cache/-1",
        "redis://[::1",
        "unix://run/redis.sock",
        "unix:///",
        "unix:///run/redis.sock?x=1",
    ],
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a file, redis://host:port/number"):
        parse_users_location(text)


@pytest.mark.parametrize("text", ["redis://:hunter2@cache", "redis://app:hunter2@cache", "unix://:hunter2@/run/redis"])
def test_a_password_in_a_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="without a password") as refused:
        parse_users_location(text)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_url_that_became_a_path_is_refused() -> None:
    with pytest.raises(ValueError, match="a URL as text"):
        parse_users_location(Path("redis://cache/1"))
