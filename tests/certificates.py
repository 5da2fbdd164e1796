"""Authorities and certificates made for a test."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_SIGNS_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Pair:
    """A certificate with its key, PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Writes ``name.crt`` and ``name.key``, each in one step, the key last."""
        replace(folder / f"{name}.crt", self.certificate)
        replace(folder / f"{name}.key", self.key)
        return folder / f"{name}.crt", folder / f"{name}.key"

    @property
    def parsed(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate)


def replace(path: Path, content: bytes) -> None:
    """Puts a file in place of another in one step; nobody but its owner may read it."""
    aside = path.with_name(path.name + ".aside")
    aside.touch(mode=0o600)
    aside.write_bytes(content)
    aside.replace(path)


def mount(folder: Path, version: str, files: dict[str, bytes]) -> None:
    """Writes files as Kubernetes mounts a Secret: links to links, of which one is moved when the Secret changes."""
    (folder / version).mkdir(parents=True)
    for name, content in files.items():
        (folder / version / name).write_bytes(content)
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(Path("..data") / name)
    aside = folder / "..data_tmp"
    aside.symlink_to(version)
    os.replace(aside, folder / "..data")  # noqa: PTH105 - Path.replace follows no link either, and this reads plainer


class Authority:
    """Signs certificates."""

    def __init__(self, name: str = "authority of a test") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        made = (
            self._builder(self._name, self._key, now - timedelta(days=1), now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_SIGNS_CERTIFICATES, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = made.public_bytes(Encoding.PEM)

    def sign(
        self,
        common_name: str = "localhost",
        *,
        names: tuple[str, ...] = ("localhost", "127.0.0.1"),
        key: PrivateKey | None = None,
        begins: timedelta = timedelta(hours=-1),
        ends: timedelta = timedelta(days=1),
    ) -> Pair:
        """Signs a certificate for names, each a DNS name, an address or a URI; none writes no subjectAltName."""
        own = key if key is not None else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        now = datetime.now(UTC)
        builder = self._builder(subject, own, now + begins, now + ends)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_name(name) for name in names]), critical=False
            )
        made = builder.sign(self._key, hashes.SHA256())
        return Pair(made.public_bytes(Encoding.PEM), key_pem(own))

    def _builder(
        self, subject: x509.Name, key: PrivateKey, begins: datetime, ends: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            # Python 3.13 believes none without them (RFC 5280, 4.2.1.1 and 4.2.1.2).
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


def _name(text: str) -> x509.GeneralName:
    if "://" in text:
        return x509.UniformResourceIdentifier(text)
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
