"""An identity provider for tests: keys, a JWK set, tokens."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://id.example", "twostage"
NOW = 1_800_000_000.0
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"RS256": RSA, "ES256": EC, "EdDSA": ED}


def public_jwk(algorithm: str, **more: Any) -> dict[str, Any]:
    writers: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
    written = writers[algorithm].to_jwk(PRIVATE[algorithm].public_key(), as_dict=True)
    return {**written, "kid": algorithm, "use": "sig", **more}


def jwk_set(*jwks: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(jwks) or [public_jwk(name) for name in PRIVATE]}).encode()


def claims(**changed: Any) -> dict[str, Any]:
    """Claims that hold for five minutes around NOW; None leaves one out."""
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 300}
    return {name: value for name, value in {**usual, **changed}.items() if value is not None}


def token(algorithm: str = "ES256", key: Any = None, headers: dict[str, Any] | None = None, **changed: Any) -> str:
    head = {"kid": algorithm} if headers is None else headers
    return jwt.encode(claims(**changed), PRIVATE[algorithm] if key is None else key, algorithm, head)


def token_of_now(client: str, algorithm: str = "ES256", seconds: float = 300.0, **changed: Any) -> str:
    now = time.time()
    times = {"iat": now, "nbf": now, "exp": now + seconds}
    return token(algorithm, sub=client, **{**times, **changed})


@dataclass
class Clock:
    now: float = NOW
    asked_count: int = field(default=0)

    def __call__(self) -> float:
        self.asked_count += 1
        return self.now
