"""A certificate, its key and the authority that peers are checked against, read from files and checked together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twostage.rpc.security.reloading import NotYetInForce
from twostage.rpc.settings import SettingsError


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """Where the parts of an identity are.

    Args:
        prefix: Beginning of the settings' names, e.g. ``tls`` for ``tls_certificate``; for errors.
        authority_name: The authority's setting after the prefix, e.g. ``client_ca``; for errors.
        certificate: PEM, the server's or client's own certificate first, then those between it and the authority.
        key: PEM, the certificate's private key, not encrypted; there is one exactly where there is a certificate.
        authority: PEM, one certificate or several, any of which may have signed the peers' certificates.
    """

    prefix: str
    authority_name: str
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Those that are given."""
        return tuple(path for path in (self.certificate, self.key, self.authority) if path is not None)


@dataclass(frozen=True, slots=True)
class Identity:
    """What one says of oneself in TLS and whom one believes.

    Args:
        certificate: PEM; None without one.
        key: PEM; None without one.
        authority: PEM; None where peers are not checked, or against the well-known authorities.
        expires_at: When the certificate ends, in Unix seconds; None without one.
    """

    certificate: bytes | None
    key: bytes | None
    authority: bytes | None
    expires_at: float | None

    def __repr__(self) -> str:
        """The key stays out of logs."""
        return f"Identity(expires_at={self.expires_at})"


def read_identity(files: IdentityFiles, clock: Callable[[], float] = time.time) -> Identity:
    """Reads an identity and checks that it can be used now.

    Args:
        files: Where it is.
        clock: Unix seconds; the system's by default.

    Raises:
        SettingsError: A file is not what it should be, the key is another certificate's, or the certificate has expired
            or does not hold yet.
        OSError: A file cannot be read.
    """
    # Here and not above: servers without TLS need not have it.
    try:
        from cryptography import x509  # noqa: PLC0415
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    except ImportError as error:
        raise _refuse(files, "certificate", "the library cryptography", "none; install the service's extra") from error

    authority = files.authority.read_bytes() if files.authority is not None else None
    if authority is not None:
        try:
            x509.load_pem_x509_certificates(authority)
        except ValueError as error:
            raise _not_pem(files, files.authority_name, "certificates", files.authority) from error
    if files.certificate is None or files.key is None:
        return Identity(None, None, authority, None)
    certificate, key = files.certificate.read_bytes(), files.key.read_bytes()
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
        leaf_key = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _not_pem(files, "certificate", "certificates", files.certificate) from error
    if _public_key(files, key) != leaf_key:
        raise _refuse(files, "key", f"the key of the certificate in {files.certificate}", f"another in {files.key}")
    now = clock()
    if leaf.not_valid_after_utc.timestamp() <= now:
        raise _refuse(files, "certificate", _HOLDS, f"one that ended {leaf.not_valid_after_utc:%Y-%m-%d %H:%M}Z")
    if leaf.not_valid_before_utc.timestamp() > now:
        begins = f"one that begins {leaf.not_valid_before_utc:%Y-%m-%d %H:%M}Z"
        raise NotYetInForce(_complaint(files, "certificate", _HOLDS, begins))
    return Identity(certificate, key, authority, leaf.not_valid_after_utc.timestamp())


_HOLDS = "one that holds now"
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


def _public_key(files: IdentityFiles, key: bytes) -> object:
    """The public half of a private key in PEM."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        private = load_pem_private_key(key, password=None)
    except TypeError as error:
        raise _refuse(files, "key", "a key that is not encrypted", f"an encrypted one in {files.key}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _not_pem(files, "key", "a private key", files.key) from error
    # gRPC shakes no hands with others.
    if isinstance(private, ec.EllipticCurvePrivateKey):
        if private.curve.name not in _CURVES:
            raise _refuse(files, "key", f"one on {', '.join(_CURVES)}", f"one on {private.curve.name} in {files.key}")
    elif not isinstance(private, rsa.RSAPrivateKey):
        raise _refuse(files, "key", "an RSA or an EC key", f"another kind in {files.key}")
    return private.public_key()


def _not_pem(files: IdentityFiles, part: str, expected: str, path: Path | None) -> SettingsError:
    return _refuse(files, part, f"{expected} in PEM", f"something else in {path}")


def _refuse(files: IdentityFiles, part: str, expected: str, received: str) -> SettingsError:
    return SettingsError(_complaint(files, part, expected, received))


def _complaint(files: IdentityFiles, part: str, expected: str, received: str) -> str:
    return f"{files.prefix}_{part}: expected {expected}, received {received}"
