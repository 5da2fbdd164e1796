from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest

from twostage.impressions.user_key import LEAST_SECRET_BYTES, UserKeys, make_secret, read_secret

SECRET = b"sixteen bytes or"


def test_a_key_is_the_first_128_bits_of_hmac_sha256() -> None:
    expected = hmac.new(SECRET, b"user\0ann", hashlib.sha256).hexdigest()[:32]
    assert UserKeys(SECRET).user("ann") == expected


def test_nobody_has_no_key_and_without_a_secret_nobody_has_one() -> None:
    assert UserKeys(SECRET).user("") == ""
    assert UserKeys(None).user("ann") == UserKeys(None).event("e", "ann") == UserKeys(None).fingerprint == ""


def test_keys_depend_on_the_secret_the_kind_and_whose_event_it_is() -> None:
    keys, others = UserKeys(SECRET), UserKeys(SECRET + b"!")
    told = [keys.user("ann"), others.user("ann"), keys.user("bob"), keys.event("ann", ""), keys.event("e", "ann")]
    told += [keys.event("e", "bob"), keys.event("e2", "ann")]
    assert len(set(told)) == len(told)
    assert keys.fingerprint != others.fingerprint


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a secret of at least 16 bytes, received 15"):
        UserKeys(SECRET[1:])


def test_a_secret_file_is_read_without_the_white_space_around_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b" " + SECRET + b"\n")
    assert read_secret(tmp_path / "key") == SECRET


def test_a_made_secret_is_long_for_its_owner_alone_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_secret(path)
    secret = read_secret(path)
    assert len(secret) >= 2 * LEAST_SECRET_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    make_secret(path)
    assert read_secret(path) == secret
