"""A certificate authority for one control plane, good for a year and for 127.0.0.1 only."""

import datetime
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.fleet.instance import Instance

_VALID = datetime.timedelta(days=365)
_SKEW = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Authority:
    """A key that signs, and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def issue_all(instance: Instance) -> None:
    """Write every certificate, key and kubeconfig that the control plane's parts need."""
    authority = _authority("holdfast-fleet")
    _write(instance.pki / "ca.crt", _pem(authority.certificate))
    _issue(authority, instance.pki / "apiserver", "kube-apiserver", server=True)
    for name, user, group in (
        ("admin", "fleet-admin", "system:masters"),
        ("kube-controller-manager", "system:kube-controller-manager", None),
        ("kube-scheduler", "system:kube-scheduler", None),
        ("kwok", "kwok", "system:masters"),
    ):
        _issue(authority, instance.pki / name, user, group=group)
        _write(instance.folder / f"{name}.kubeconfig", _kubeconfig(instance, name))
    # Service-account tokens: RSA, which every verifier knows.
    signer = rsa.generate_private_key(65537, 2048)
    _write(instance.pki / "sa.key", _private(signer))
    public = signer.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write(instance.pki / "sa.pub", public)


def _authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(subject, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, certificate)


def _issue(authority: Authority, stem: Path, user: str, *, group: str | None = None, server: bool = False) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    if group is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    signer = authority.certificate.public_key()
    assert isinstance(signer, ec.EllipticCurvePublicKey)
    builder = (
        _builder(x509.Name(attributes), authority.certificate.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )
    if server:
        names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName("kubernetes.default.svc")]
        names += [x509.IPAddress(ipaddress.ip_address(one)) for one in ("127.0.0.1", "10.96.0.1")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    _write(stem.with_suffix(".crt"), _pem(builder.sign(authority.key, hashes.SHA256())))
    _write(stem.with_suffix(".key"), _private(key))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _VALID)
    )


def _kubeconfig(instance: Instance, user: str) -> bytes:
    pki = instance.pki
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "fleet",
        "contexts": [{"name": "fleet", "context": {"cluster": "fleet", "user": user}}],
        "clusters": [{"name": "fleet", "cluster": {
            "server": instance.server, "certificate-authority": str(pki / "ca.crt")}}],
        "users": [{"name": user, "user": {
            "client-certificate": str(pki / f"{user}.crt"), "client-key": str(pki / f"{user}.key")}}],
    }, indent=1).encode()  # fmt: skip


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)
