from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gateway.access.clients_file import METHODS, parse_clients
from twostage.rpc.caller import Caller
from twostage.rpc.settings import SettingsError

PATH = Path("clients.yaml")
A, B = "a" * 64, "B" * 64


def test_the_methods_are_the_services() -> None:
    assert set(METHODS) == {
        "Recommend",
        "SimilarItems",
        "RecordEvents",
        "Explain",
        "GetUser",
        "DeleteUser",
        "GetStatus",
    }


def test_a_whole_file_is_read() -> None:
    file = parse_clients(
        f"""
        clients:
          - name: shop
            keys: [{{sha256: {A}, note: since May}}, {{sha256: {B}}}]
            priority: 7
            requests_per_second: 500
            burst: 1000
            may_explain: true
            methods: [Recommend, RecordEvents]
          - name: "https://id.example/site"
        jwt: {{jwks_file: jwks.json, issuer: "https://id.example", audience: twostage}}
        anonymous: {{priority: 1, requests_per_second: 2.5}}
        """.encode(),
        PATH,
    )
    shop, site = file.clients
    assert shop.caller(shop.name) == Caller("shop", 7, 500.0, 1000, may_explain=True)
    assert shop.methods == ("Recommend", "RecordEvents")
    assert site.caller(site.name) == Caller("https://id.example/site", 5, None, 1, may_explain=False)
    assert file.jwt is not None
    assert (file.jwt.algorithms, file.jwt.client_claim, file.jwt.leeway_seconds) == (
        ("RS256", "ES256", "EdDSA"),
        "sub",
        30.0,
    )
    assert file.anonymous is not None
    # Without a burst what it may ask in a second may come at once.
    assert file.anonymous.caller("") == Caller("", 1, 2.5, 2, may_explain=False)


JWT = "anonymous: {}\njwt: {jwks_file: x, issuer: i, audience: a, "
CLIENT = f"clients: [{{name: a, keys: [{{sha256: {A}}}], "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "clients: expected names and values, received NoneType"),
        ("- a", "clients: expected names and values, received list"),
        ("clients: [", "clients: expected YAML, received something else in clients.yaml, line"),
        ("a: &a [*a]", "a: expected no such name"),
        ("clients: []\nclients: []", "clients: expected YAML"),
        ("clients: []", "clients: expected one at least, or anonymous, received neither"),
        ("anonymus: {}", "anonymus: expected no such name, received one"),
        ("clients: [{}]", "clients.0.name: expected a value, received none"),
        (f"clients: [{{name: a, keys: [{{sha256: {hashlib.sha256().hexdigest()}}}]}}]", "that of the empty text for a"),
        (f"clients: [{{name: '', keys: [{{sha256: {A}}}]}}]", "clients.0.name: expected"),
        (f"clients: [{{name: 'a b', keys: [{{sha256: {A}}}]}}]", "clients.0.name: expected"),
        (f"clients: [{{name: 'a\\n', keys: [{{sha256: {A}}}]}}]", "clients.0.name: expected"),
        (f"clients: [{{name: {'x' * 129}, keys: [{{sha256: {A}}}]}}]", "clients.0.name: expected"),
        ("clients: [{name: a}]", "clients: expected keys of a, or jwt, received neither"),
        ("clients: [{name: a, keys: [secret-key]}]", "clients.0.keys.0: expected"),
        ("clients: [{name: a, keys: [{sha256: secret-key}]}]", "clients.0.keys.0.sha256: expected"),
        ("clients: [{name: a, keys: [{key: secret-key}]}]", "clients.0.keys.0.key: expected no such name"),
        (CLIENT + "priority: 10}]", "clients.0.priority: expected less than or equal to 9"),
        (CLIENT + "priority: -1}]", "clients.0.priority: expected greater than or equal to 0"),
        (CLIENT + "priority: high}]", "clients.0.priority: expected a valid integer"),
        (CLIENT + "priority: true}]", "clients.0.priority: expected a valid integer"),
        (CLIENT + "requests_per_second: 0}]", "clients.0.requests_per_second: expected greater than 0"),
        (CLIENT + "requests_per_second: .nan}]", "clients.0.requests_per_second: expected"),
        (CLIENT + "burst: 3}]", "clients.0: burst: expected requests_per_second beside it"),
        (CLIENT + "requests_per_second: 1, burst: 0}]", "clients.0.burst: expected greater than or equal to 1"),
        (CLIENT + "methods: []}]", "clients.0.methods: expected"),
        (CLIENT + "methods: [Recomend]}]", "clients.0: methods: expected some of Recommend, "),
        (CLIENT + "may_explain: 'yes'}]", "clients.0.may_explain: expected a valid boolean"),
        (CLIENT + "key: secret-key}]", "clients.0.key: expected no such name"),
        (f"{CLIENT}}}, {{name: a, keys: [{{sha256: {B}}}]}}]", "clients: expected each name once, received a twice"),
        (f"{CLIENT}}}, {{name: b, keys: [{{sha256: {'A' * 64}}}]}}]", "received one of b that a has too"),
        ("anonymous: {}\njwt: {}", "jwt.jwks_file: expected a value, received none"),
        (JWT + "algorithms: [HS256]}", "jwt.algorithms.0: expected"),
        (
            "anonymous: {}\njwt: {jwks_file: x, issuer: i, audience: a, algorithms: [none]}",
            "jwt.algorithms.0: expected",
        ),
        (
            "anonymous: {}\njwt: {jwks_file: x, issuer: i, audience: a, leeway_seconds: 999}",
            "jwt.leeway_seconds: expec",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_place_and_never_shown(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_clients(text.encode(), PATH)
    assert message in str(caught.value)
    assert "clients.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret-key" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"[" * 5000,
        b"!!python/object/apply:os.system [ls]",
        b"x" * 5_000_000,
        b"a: 2025-13-01",
        b"a: " + b"9" * 5000,
        b"a: !!timestamp x",
        b"a: !!int ''",
        b"a: !!bool 3",
    ],
)
def test_no_content_makes_it_fail_otherwise(content: bytes) -> None:
    with pytest.raises(SettingsError, match="clients: expected"):
        parse_clients(content, PATH)
