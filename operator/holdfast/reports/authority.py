"""The certificate authority of the report endpoint, and the leaf certificates it signs.

The authority lives in one Secret that the operator creates once, if it is absent; no upgrade ever touches it, because
running pods hold its certificate. Leaves live in memory only: every replica signs its own from the authority's key and
renews it long before it ends, so a lost leaf changes nothing.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast.cluster.client import ApiClient, NameTaken
from holdfast.planning.plan import Resource

SECRETS = Resource("", "v1", "secrets", "Secret")
AUTHORITY_LIFE = timedelta(days=3653)
LEAF_LIFE = timedelta(days=7)
RENEW_BEFORE = timedelta(days=3)
_SKEW = timedelta(hours=1)


class AuthorityError(Exception):
    """The Secret holds no usable authority; the message says what to do."""


@dataclass(frozen=True)
class Authority:
    """A certificate and its key, both PEM."""

    certificate_pem: str
    key_pem: str

    def secret(self, namespace: str, name: str) -> dict[str, object]:
        """Return the Secret that holds it."""
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": "kubernetes.io/tls",
            "data": {
                "tls.crt": base64.b64encode(self.certificate_pem.encode()).decode(),
                "tls.key": base64.b64encode(self.key_pem.encode()).decode(),
            },
        }


@dataclass(frozen=True)
class Leaf:
    """A server certificate with its chain and key, PEM, and when it ends."""

    chain_pem: str
    key_pem: str
    ends_at: datetime

    def due(self, now: datetime) -> bool:
        """Say whether it is time for a new one."""
        return now >= self.ends_at - RENEW_BEFORE

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have `context` use this leaf for every handshake from now on.

        Python loads certificates from files only; this one never reaches a disk.
        """
        handle = os.memfd_create("holdfast-leaf", os.MFD_CLOEXEC)
        try:
            os.write(handle, (self.chain_pem + self.key_pem).encode())
            context.load_cert_chain(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)


def make_authority(now: datetime) -> Authority:
    """Make a new authority, valid from an hour ago (clocks differ) for ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "holdfast report endpoint")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(_pem(certificate), _key_pem(key))


def issue_leaf(authority: Authority, names: Sequence[str], now: datetime) -> Leaf:
    """Sign a server certificate for DNS names and addresses."""
    signer = _private_key(authority.key_pem)
    issuer = x509.load_pem_x509_certificate(authority.certificate_pem.encode())
    key = ec.generate_private_key(ec.SECP256R1())
    ends_at = min(now + LEAF_LIFE, issuer.not_valid_after_utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(ends_at)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return Leaf(_pem(certificate), _key_pem(key), ends_at)


async def load_or_create(
    client: ApiClient, namespace: str, name: str, now: datetime, held: Authority | None = None
) -> Authority:
    """Return the authority of the Secret; where the Secret is absent, store `held` in a new one, or make one.

    `held` is what this process used so far: running pods know that one. Of several replicas that do so at once, one
    wins, and all return the winner's. Raises `AuthorityError` where the Secret is there and cannot be used, `ApiError`
    where the API server says no.
    """
    found = await client.get(SECRETS, namespace, name)
    if found is None:
        made = held or make_authority(now)
        with contextlib.suppress(NameTaken):
            await client.create(SECRETS, namespace, made.secret(namespace, name))
        found = await client.get(SECRETS, namespace, name)
    return _parsed(found, namespace, name, now)


def _parsed(secret: Mapping[str, Any] | None, namespace: str, name: str, now: datetime) -> Authority:
    advice = f"delete the Secret {namespace}/{name} and restart the operator and all pods that report to it"
    try:
        data = (secret or {})["data"]
        authority = Authority(
            base64.b64decode(data["tls.crt"]).decode(),
            base64.b64decode(data["tls.key"]).decode(),
        )
        certificate = x509.load_pem_x509_certificate(authority.certificate_pem.encode())
        matches = certificate.public_key() == _private_key(authority.key_pem).public_key()
    except (KeyError, TypeError, ValueError) as error:
        problem = f"the Secret {namespace}/{name} holds no certificate and key ({error!r})"
        raise AuthorityError(f"{problem}: {advice}") from error
    if not matches:
        raise AuthorityError(f"certificate and key of the Secret {namespace}/{name} do not match: {advice}")
    if certificate.not_valid_after_utc <= now:
        raise AuthorityError(f"the certificate of the Secret {namespace}/{name} has ended: {advice}")
    return authority


def _private_key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")
    return key


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
