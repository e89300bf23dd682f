"""Who may call whom in a control plane of our own: an authority made anew for each, and a key.

Kubernetes knows a client by its certificate: the common name is the user, the organisations are
the groups. All keys lie in files that only their owner reads, and open nothing but this cluster.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_FOR: Final = dt.timedelta(days=7)
# A clock that a test has moved, or another process's that is a little behind, is no reason to refuse.
VALID_BEFORE: Final = dt.timedelta(hours=1)
ADMINS: Final = "system:masters"  # the group that RBAC lets do everything


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs the certificates of one control plane, and keeps them in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rei-test-cluster")])
        signed = (
            self._unsigned(self._name, key=self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / "ca.crt"
        write_private(self.certificate, signed.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str, *addresses: str) -> Pair:
        """For a server on this machine's loopback, and at `addresses`."""
        names = x509.SubjectAlternativeName(
            [
                x509.DNSName("localhost"),
                x509.DNSName("kubernetes.default.svc"),
                *(
                    x509.IPAddress(ipaddress.ip_address(address))
                    for address in dict.fromkeys(("127.0.0.1", *addresses))
                ),
            ]
        )
        return self._pair(name, [], usage=ExtendedKeyUsageOID.SERVER_AUTH, extension=names)

    def client(self, user: str, *, group: str) -> Pair:
        """For a user of a group."""
        return self._pair(user, [group], usage=ExtendedKeyUsageOID.CLIENT_AUTH)

    def _pair(
        self,
        name: str,
        groups: list[str],
        *,
        usage: x509.ObjectIdentifier,
        extension: x509.SubjectAlternativeName | None = None,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in groups]
        subject = x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            self._unsigned(subject, key=key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if extension is not None:
            builder = builder.add_extension(extension, critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        write_private(pair.certificate, signed.public_bytes(serialization.Encoding.PEM))
        write_private(pair.key, _pem(key))
        return pair

    def _unsigned(
        self, subject: x509.Name, *, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        ours = self._key.public_key()
        # Python ≥ 3.13 refuses certificates without the two identifiers.
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - VALID_BEFORE)
            .not_valid_after(now + VALID_FOR)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), critical=False)
        )


def signing_key(path: Path) -> Path:
    """The key that ServiceAccounts' tokens are signed with."""
    write_private(path, _pem(ec.generate_private_key(ec.SECP256R1())))
    return path


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    half_made = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(half_made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    half_made.replace(path)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,  # kube-apiserver takes no PKCS #8 to sign with
        serialization.NoEncryption(),
    )
