from __future__ import annotations

from pathlib import Path

import pytest

from gateway.http.settings import HttpSettings
from twostage.rpc.settings import SettingsError, load_settings


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"cors_origins": "shop.example"}, "cors_origins: expected origins"),
        ({"cors_origins": "https://shop.example/"}, "cors_origins: expected origins"),
        ({"max_workers": "8"}, "max_workers: expected none"),
        ({"reflection": "false"}, "reflection: expected none"),
        ({"max_body_bytes": "10"}, "--max-body-bytes: expected"),
        ({"gateway_tls_certificate": "a.pem"}, "gateway_tls_key: expected a file beside"),
        ({"tls_key": "a.key"}, "tls_certificate: expected a file beside"),
    ],
)
def test_a_wrong_setting_is_named(flags: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings(HttpSettings, flags)


def test_settings_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOSTAGE_HTTP_GATEWAY", "gateway.example:443")
    monkeypatch.setenv("TWOSTAGE_HTTP_GATEWAY_TLS", "true")
    monkeypatch.setenv("TWOSTAGE_HTTP_CORS_ORIGINS", "https://a.example, http://localhost:3000")
    settings = load_settings(HttpSettings)
    assert settings.gateway_access().encrypted
    assert settings.allowed_origins == {"https://a.example", "http://localhost:3000"}
    assert (settings.gateway, settings.port, settings.metrics_port) == ("gateway.example:443", 8080, 9103)


def test_how_the_gateway_is_reached(tmp_path: Path) -> None:
    settings = HttpSettings(gateway_tls_ca=tmp_path / "ca.pem", gateway_tls_server_name="g")
    access = settings.gateway_access()
    assert (access.tls_ca, access.tls_server_name, access.encrypted) == (tmp_path / "ca.pem", "g", True)
    assert (access.api_key, access.token) == (None, None)
