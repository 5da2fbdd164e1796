"""The text protos that flags point to."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_server.flags import FlagError
from model_server.text_config import METRICS_PATH, read_metrics_path, read_ssl_config


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_pem_texts_are_read_whole(tmp_path: Path) -> None:
    text = 'server_key: "a\\nb"  server_cert: "c" "d"\ncustom_ca: "e"\nclient_verify: true'
    config = read_ssl_config(_write(tmp_path / "s", text))
    assert (config.server_key, config.server_certificate) == (b"a\nb", b"cd")
    assert (config.client_authority, config.client_required) == (b"e", True)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", None),
        ("prometheus_config { enable: false path: '/x' }", None),
        ("prometheus_config { enable: true }", METRICS_PATH),
        ("prometheus_config: {enable: true, path: '/metrics'}  # as the documentation writes it", "/metrics"),
    ],
)
def test_the_path_of_metrics_is_read(text: str, path: str | None, tmp_path: Path) -> None:
    assert read_metrics_path(_write(tmp_path / "m", text)) == path


def test_what_cannot_be_read_names_the_flag_and_the_file(tmp_path: Path) -> None:
    for read, flag in ((read_ssl_config, "ssl_config_file"), (read_metrics_path, "monitoring_config_file")):
        file = _write(tmp_path / "f", "bogus: 1")
        with pytest.raises(FlagError, match=rf'--{flag}={file}: expected a text proto .* no field named "bogus"'):
            read(file)
        (tmp_path / "f").write_bytes(b"\xff\xfe")
        with pytest.raises(FlagError, match=f"--{flag}={file}: expected a text proto"):
            read(file)
        with pytest.raises(FlagError, match=f"--{flag}=/none: No such file"):
            read("/none")


def test_a_missing_key_and_a_relative_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match="expected server_cert with PEM text, got none"):
        read_ssl_config(_write(tmp_path / "s", 'server_key: "a"'))
    with pytest.raises(FlagError, match="expected a path that begins with /, got 'metrics'"):
        read_metrics_path(_write(tmp_path / "m", "prometheus_config { enable: true path: 'metrics' }"))
