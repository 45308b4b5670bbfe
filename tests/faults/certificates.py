"""Certificates for a drill: of an authority that is made for it, good ones and such as have expired."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


def write_certificates(folder: Path) -> None:
    """Write ``ca.pem``, and ``good`` and ``expired`` with the endings ``.pem`` and ``.key``, for loopback."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("drill authority")
    basic = x509.BasicConstraints(ca=True, path_length=0)
    authority = _signed(name, key, name, key, DAY).add_extension(basic, critical=True)
    _write(folder / "ca.pem", authority.sign(key, hashes.SHA256()))
    for kind, left in (("good", DAY), ("expired", -timedelta(hours=1))):
        own = ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        alternatives = x509.SubjectAlternativeName([address])
        found = _signed(_name("127.0.0.1"), own, name, key, left)
        found = found.add_extension(alternatives, critical=False)
        _write(folder / f"{kind}.pem", found.sign(key, hashes.SHA256()))
        (folder / f"{kind}.key").write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(
    subject: x509.Name, key: Any, issuer: x509.Name, issuer_key: Any, left: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(
        issuer_key.public_key()
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now + left)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
    )


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
