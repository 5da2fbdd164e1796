from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import load_pem_private_key as load_key

from tests.certificates import Authority, Pair
from twostage.rpc.security.identity import IdentityFiles, read_identity
from twostage.rpc.security.reloading import NotYetInForce
from twostage.rpc.settings import SettingsError

AUTHORITY = Authority()
GOOD = AUTHORITY.sign()


def files(folder: Path, pair: Pair = GOOD, authority: bytes = AUTHORITY.pem) -> IdentityFiles:
    certificate, key = pair.write(folder, "server")
    (folder / "ca.pem").write_bytes(authority)
    return IdentityFiles("tls", "client_ca", certificate, key, folder / "ca.pem")


@pytest.mark.parametrize("bits", [0, 2048])
def test_a_whole_identity_is_read_with_its_end(tmp_path: Path, bits: int) -> None:
    pair = AUTHORITY.sign(key=rsa.generate_private_key(65537, bits)) if bits else GOOD
    identity = read_identity(files(tmp_path, pair))
    assert (identity.certificate, identity.key, identity.authority) == (pair.certificate, pair.key, AUTHORITY.pem)
    assert identity.expires_at == pair.parsed.not_valid_after_utc.timestamp()
    assert "PRIVATE" not in repr(identity)


def test_an_authority_alone_is_an_identity_without_a_certificate(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.pem + Authority("second").pem)
    identity = read_identity(IdentityFiles("stage_tls", "ca", authority=tmp_path / "ca.pem"))
    assert (identity.certificate, identity.key, identity.expires_at) == (None, None, None)
    assert identity.authority is not None
    assert identity.authority.count(b"BEGIN CERTIFICATE") == 2


def encrypted(pair: Pair) -> bytes:
    key = load_key(pair.key, None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass"))


@pytest.mark.parametrize(
    ("pair", "authority", "message"),
    [
        (Pair(b"", GOOD.key), AUTHORITY.pem, "tls_certificate: expected certificates in PEM"),
        (Pair(b"x" * 99, GOOD.key), AUTHORITY.pem, "tls_certificate: expected certificates in PEM"),
        (Pair(GOOD.certificate, b"x"), AUTHORITY.pem, "tls_key: expected a private key in PEM"),
        (Pair(GOOD.certificate, AUTHORITY.sign().key), AUTHORITY.pem, "tls_key: expected the key of the certificate"),
        (Pair(GOOD.certificate, encrypted(GOOD)), AUTHORITY.pem, "tls_key: expected a key that is not encrypted"),
        (AUTHORITY.sign(key=ed25519.Ed25519PrivateKey.generate()), AUTHORITY.pem, "tls_key: expected an RSA or an EC"),
        (
            AUTHORITY.sign(key=ec.generate_private_key(ec.SECP256K1())),
            AUTHORITY.pem,
            "tls_key: expected one on secp256r1",
        ),
        (AUTHORITY.sign(ends=timedelta(minutes=-1)), AUTHORITY.pem, "tls_certificate: expected one that holds now"),
        (GOOD, b"nothing", "tls_client_ca: expected certificates in PEM"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, pair: Pair, authority: bytes, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        read_identity(files(tmp_path, pair, authority))
    assert "PRIVATE KEY" not in str(caught.value)


def test_one_that_begins_later_is_told_apart_and_a_clock_set_back_counts(tmp_path: Path) -> None:
    with pytest.raises(NotYetInForce, match="received one that begins"):
        read_identity(files(tmp_path, AUTHORITY.sign(begins=timedelta(hours=1))))
    read_identity(files(tmp_path))
    with pytest.raises(NotYetInForce):
        read_identity(files(tmp_path), lambda: time.time() - 7200)
    with pytest.raises(SettingsError, match="one that ended"):
        read_identity(files(tmp_path), lambda: time.time() + 2 * 86_400)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    certificate, key = GOOD.write(tmp_path, "server")
    key.unlink()
    with pytest.raises(FileNotFoundError, match=r"server\.key"):
        read_identity(IdentityFiles("tls", "client_ca", certificate, key))
