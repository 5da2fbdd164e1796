from __future__ import annotations

import subprocess
import sys

from twostage.rpc.security.api_keys import KEY_PREFIX, MAX_KEY_CHARS, key_digest, new_key


def test_keys_are_long_printable_and_never_alike() -> None:
    keys = {new_key() for _ in range(200)}
    assert len(keys) == 200
    for key in keys:
        assert key.startswith(KEY_PREFIX)
        # 32 bytes in base64 without padding.
        assert len(key) == len(KEY_PREFIX) + 43 <= MAX_KEY_CHARS
        assert key.isascii()
        assert key.isprintable()
        assert " " not in key


def test_the_digest_is_what_sha256sum_prints() -> None:
    # `printf %s abc | sha256sum`, FIPS 180-2's example.
    assert key_digest("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_making_a_key_loads_no_grpc() -> None:
    code = "import sys; import twostage.commands.keys; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
