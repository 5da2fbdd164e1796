from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from gateway.access.jwks import parse_jwks
from tests.unit.gateway.access.tokens import EC, jwk_set, public_jwk
from twostage.rpc.settings import SettingsError

PATH = Path("jwks.json")
ALL = frozenset({"RS256", "ES256", "EdDSA"})
BREAKABLE = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
SMALL: dict[str, Any] = RSAAlgorithm.to_jwk(BREAKABLE.public_key(), as_dict=True)


def test_keys_are_found_by_their_names_each_for_one_algorithm() -> None:
    keys = parse_jwks(jwk_set(), PATH, ALL)
    assert {name: key.algorithm_name for name, key in keys.items()} == {name: name for name in ALL}


def test_keys_that_are_not_for_us_are_left_out() -> None:
    content = jwk_set(
        public_jwk("ES256"),
        public_jwk("RS256", use="enc", kid="encrypts"),
        public_jwk("RS256", alg="RS512", kid="other algorithm"),
        {"kty": "from the future", "kid": "x"},
        {"kid": "no kty"},
        public_jwk("RS256", alg="none", kid="signs nothing"),
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "off the curve"},
    )
    assert set(parse_jwks(content, PATH, ALL)) == {"ES256"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a JWK set in JSON"),
        (b"[" * 100_000, "a JWK set in JSON"),
        (b"\xff", "a JWK set in JSON"),
        (b"[]", "a JWK set, "),
        (b'{"keys": {}}', "a JWK set, "),
        (b'{"keys": [1]}', "a JWK set, "),
        (b'{"keys": []}', "a key for ES256, EdDSA, RS256, received none"),
        (jwk_set({"kty": "oct", "k": "c2VjcmV0", "kid": "hmac"}), "public keys, received a secret or private one"),
        (jwk_set({**public_jwk("ES256"), "d": "AA"}), "public keys, received a secret or private one"),
        (jwk_set({**SMALL, "kid": "small"}), "RSA keys of 2048 bits and more, received one of 1024"),
        (jwk_set(public_jwk("ES256"), public_jwk("ES256")), "a kid of its own for each key, received 'ES256' twice"),
        (
            jwk_set(public_jwk("ES256", kid=""), public_jwk("RS256", kid="")),
            "a kid of its own for each key, received several without one",
        ),
    ],
)
def test_what_is_no_set_of_public_keys_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_jwks(content, PATH, ALL)
    assert f"jwt.jwks_file: expected {message}" in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_a_private_key_that_somebody_exported_is_refused() -> None:
    private: dict[str, Any] = json.loads(json.dumps(type_of_private()))
    with pytest.raises(SettingsError, match="received a secret or private one"):
        parse_jwks(jwk_set(private), PATH, ALL)


def type_of_private() -> dict[str, Any]:
    from jwt.algorithms import ECAlgorithm  # noqa: PLC0415 - only here

    written: dict[str, Any] = ECAlgorithm.to_jwk(EC, as_dict=True)
    return written
