from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from twostage.rpc.security.private_files import SecretInvalid, read_secret, warn_if_others_may_read


def test_a_secret_is_read_without_the_end_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("twostage_abc\r\n")
    assert read_secret(tmp_path / "key", "--api-key-file") == "twostage_abc"


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two words", b"two\nlines", "schlüssel".encode(), b"\xff\xfe", b"a\x00b", b"x" * 16_385]
)
def test_anything_else_is_refused_without_being_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(SecretInvalid, match="--token-file: expected one line of printable ASCII") as caught:
        read_secret(tmp_path / "key", "--token-file")
    for word in ("words", "lines", "schl", "xxx"):
        assert word not in str(caught.value).replace("one line", "")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretInvalid, match=r"--api-key-file: expected a readable file, received .*nix: No such file"):
        read_secret(tmp_path / "nix", "--api-key-file")


def test_only_the_mode_of_a_file_that_is_there_is_warned_of(tmp_path: Path) -> None:
    logger: Any = CapturingLogger()
    (tmp_path / "key").write_text("secret")
    (tmp_path / "key").chmod(0o604)
    assert warn_if_others_may_read(tmp_path / "key", logger)
    assert not warn_if_others_may_read(tmp_path / "nix", logger)
    (call,) = logger.calls
    assert call.kwargs == {"path": str(tmp_path / "key"), "mode": "0604", "expected": "0600 or 0400"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another account")
@pytest.mark.parametrize(("mode", "warned"), [(0o440, False), (0o400, False), (0o460, True), (0o444, True)])
def test_a_secret_that_another_account_lets_our_group_read_is_as_it_should_be(
    tmp_path: Path, mode: int, warned: bool
) -> None:
    path = tmp_path / "key"
    path.write_text("secret")
    os.chown(path, 65_534, 0)
    path.chmod(mode)
    assert warn_if_others_may_read(path, CapturingLogger()) is warned
