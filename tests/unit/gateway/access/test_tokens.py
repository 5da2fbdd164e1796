from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.jwks import parse_jwks
from gateway.access.tokens import MAX_TOKEN_CHARS, TokenRefused, TokenVerifier
from tests.unit.gateway.access.tokens import AUDIENCE, EC, ISSUER, NOW, RSA, Clock, claims, jwk_set, public_jwk, token

ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})


def verifier(clock: Clock | None = None, jwks: bytes | None = None, **changed: Any) -> TokenVerifier:
    settings: dict[str, Any] = {"client_claim": "sub", "leeway_seconds": 30.0, **changed}
    algorithms = settings.pop("algorithms", ALGORITHMS)
    keys = parse_jwks(jwks if jwks is not None else jwk_set(), Path("jwks.json"), algorithms)
    return TokenVerifier(
        keys, issuer=ISSUER, audience=AUDIENCE, algorithms=algorithms, clock=clock or Clock(), **settings
    )


def refused(tokens: TokenVerifier, text: str) -> str:
    with pytest.raises(TokenRefused) as caught:
        tokens.client_of(text)
    return caught.value.kind


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def by_hand(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}.{b64(signature)}"


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_token_of_the_issuer_names_its_client(algorithm: str) -> None:
    tokens = verifier()
    text = token(algorithm)
    assert [tokens.client_of(text) for _ in range(3)] == ["shop"] * 3
    assert tokens.cached_count == 1


def test_another_claim_may_name_the_client_and_the_audience_may_be_one_of_several() -> None:
    tokens = verifier(client_claim="azp")
    assert tokens.client_of(token(azp="site", aud=["other", AUDIENCE])) == "site"
    assert refused(tokens, token()) == "claims"


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"iss": "https://evil.example"}, "claims"),
        ({"iss": None}, "claims"),
        ({"aud": "other"}, "claims"),
        ({"aud": None}, "claims"),
        ({"sub": None}, "claims"),
        ({"sub": ""}, "claims"),
        ({"sub": 7}, "claims"),
        ({"sub": ["shop"]}, "claims"),
        ({"exp": None}, "claims"),
        ({"exp": "tomorrow"}, "claims"),
        ({"exp": True}, "claims"),
        ({"exp": float("nan")}, "claims"),
        ({"exp": 10**400}, "claims"),
        ({"nbf": "x"}, "claims"),
        ({"iat": []}, "claims"),
        ({"exp": NOW - 31}, "expired"),
        ({"nbf": NOW + 31}, "not_yet"),
        ({"iat": NOW + 31}, "not_yet"),
    ],
)
def test_claims_that_are_not_as_they_should_be_are_refused(changed: dict[str, Any], kind: str) -> None:
    assert refused(verifier(), token(**changed)) == kind


@pytest.mark.parametrize(
    "changed", [{"exp": NOW - 29}, {"nbf": NOW + 29}, {"iat": NOW + 29}, {"nbf": None, "iat": None}]
)
def test_clocks_may_differ_by_the_leeway(changed: dict[str, Any]) -> None:
    assert verifier().client_of(token(**changed)) == "shop"


def test_a_token_without_a_signature_is_refused() -> None:
    tokens = verifier()
    unsigned = by_hand({"alg": "none", "kid": "ES256"}, claims())
    assert refused(tokens, unsigned) == "algorithm"
    for name in ("None", "NONE", "nOnE", "", None, 7, ["ES256"]):
        kind = refused(tokens, by_hand({"alg": name, "kid": "ES256"}, claims()))
        assert kind in {"algorithm", "malformed"}
    signed = token()
    assert refused(tokens, signed.rpartition(".")[0] + ".") == "signature"


def test_a_public_key_is_no_secret_for_hs256() -> None:
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = by_hand({"alg": "HS256", "typ": "JWT", "kid": "RS256"}, claims()).rpartition(".")[0]
    signature = hmac.new(pem, head.encode(), hashlib.sha256).digest()
    assert refused(verifier(), f"{head}.{b64(signature)}") == "algorithm"


def test_a_key_serves_its_own_algorithm_only() -> None:
    assert refused(verifier(), token("ES256", headers={"kid": "RS256"})) == "algorithm"
    only_rsa = verifier(algorithms=frozenset({"RS256"}))
    assert refused(only_rsa, token("ES256")) == "algorithm"
    assert only_rsa.client_of(token("RS256")) == "shop"


def test_another_ones_signature_and_a_changed_payload_are_refused() -> None:
    tokens = verifier()
    assert refused(tokens, token(key=ec.generate_private_key(ec.SECP256R1()))) == "signature"
    head, _, signature = token().split(".")
    other = by_hand({}, claims(sub="admin")).split(".")[1]
    assert refused(tokens, f"{head}.{other}.{signature}") == "signature"
    assert tokens.cached_count == 0


def test_the_key_is_found_by_its_name_or_is_the_only_one() -> None:
    assert refused(verifier(), token(headers={"kid": "nobody"})) == "unknown_key"
    assert refused(verifier(), token(headers={})) == "unknown_key"
    one = verifier(jwks=jwk_set(public_jwk("ES256")))
    assert one.client_of(token(headers={})) == "shop"
    assert refused(one, token(headers={"kid": "nobody"})) == "unknown_key"


def test_keys_that_the_token_brings_itself_are_not_believed() -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    own = jwt.algorithms.ECAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
    headers = {"kid": "ES256", "jwk": own, "jku": "https://evil.example/jwks", "x5u": "https://evil.example"}
    assert refused(verifier(), token(key=stranger, headers=headers)) == "signature"


def test_headers_that_must_be_understood_and_are_not_are_refused() -> None:
    head = b64(json.dumps({"alg": "ES256", "kid": "ES256", "crit": ["exp"], "exp": 1}).encode())
    payload = b64(json.dumps(claims()).encode())
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(f"{head}.{payload}".encode(), EC)
    assert refused(verifier(), f"{head}.{payload}.{b64(signature)}") == "malformed"


@pytest.mark.parametrize(
    "text", ["", ".", "..", "...", "a.b.c", "x" * 100, "x" * (MAX_TOKEN_CHARS + 1), "é.é.é", "\ud800", "[]", "{}.{}.{}"]
)
def test_what_is_no_token_is_refused(text: str) -> None:
    assert refused(verifier(), text) in {"malformed", "algorithm"}


@given(
    st.text(max_size=200)
    | st.lists(st.binary(max_size=40), min_size=3, max_size=3).map(lambda p: ".".join(map(b64, p)))
)
def test_no_text_at_all_makes_it_fail_otherwise(text: str) -> None:
    with pytest.raises(TokenRefused):
        SHARED.client_of(text)


SHARED = verifier()


def test_deeply_nested_claims_are_refused() -> None:
    deep = by_hand({"alg": "ES256", "kid": "ES256"}, {}).split(".")[0] + "." + b64(b"[" * 3000) + ".AAAA"
    assert refused(verifier(), deep) in {"malformed", "signature"}
    assert refused(verifier(), b64(b"[" * 3000) + ".e30.AAAA") == "malformed"


def test_a_remembered_token_ends_with_its_time() -> None:
    clock = Clock()
    tokens = verifier(clock)
    text = token()
    assert tokens.client_of(text) == "shop"
    clock.now = NOW + 300 + 29
    assert tokens.client_of(text) == "shop"
    clock.now = NOW + 300 + 30
    assert refused(tokens, text) == "expired"
    assert tokens.cached_count == 0


def test_a_clock_that_jumps_is_followed_at_once_in_both_directions() -> None:
    clock = Clock()
    tokens = verifier(clock)
    text = token()
    assert tokens.client_of(text) == "shop"
    clock.now = NOW - 3600
    assert refused(tokens, text) == "not_yet"
    clock.now = NOW
    assert tokens.client_of(text) == "shop"
    clock.now = NOW + 3600
    assert refused(tokens, text) == "expired"
    clock.now = NOW
    assert tokens.client_of(text) == "shop"


def test_no_more_tokens_are_remembered_than_there_is_room_for() -> None:
    tokens = verifier(cache_size=5)
    texts = [token(sub=f"client-{number}") for number in range(12)]
    assert [tokens.client_of(text) for text in texts] == [f"client-{number}" for number in range(12)]
    assert tokens.cached_count == 5
    assert [tokens.client_of(text) for text in texts] == [f"client-{number}" for number in range(12)]


def test_many_threads_may_ask_at_once() -> None:
    tokens = verifier(cache_size=3)
    texts = {f"client-{number}": token(sub=f"client-{number}") for number in range(8)}
    wrong: list[str] = []

    def ask() -> None:
        for _ in range(50):
            wrong.extend(name for name, text in texts.items() if tokens.client_of(text) != name)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert tokens.cached_count == 3
