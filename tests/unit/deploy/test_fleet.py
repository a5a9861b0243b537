"""Simulated nodes look like GKE's, and certificates open the door they are for."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from deploy.fleet import certificates, instance
from deploy.fleet.simulated import nodes, parse
from deploy.kind.console import Problem
from deploy.kind.paths import Cache


def test_a_slice_is_a_pool_with_one_node_a_host() -> None:
    made = nodes([parse("v6e:4x4=2"), parse("v5p:2x2x2"), parse("h100=3")])
    pools: dict[str, int] = {}
    for one in made:
        pool = one["metadata"]["labels"]["cloud.google.com/gke-nodepool"]
        pools[pool] = pools.get(pool, 0) + 1
    assert pools == {"v6e-0000": 4, "v6e-0001": 4, "v5p-0000": 2, "h100-0000": 1, "h100-0001": 1, "h100-0002": 1}
    assert len({one["metadata"]["name"] for one in made}) == len(made)


def test_a_tpu_node_says_so() -> None:
    (node, _, _, _) = nodes([parse("v6e:4x4")], spot=True)
    labels = node["metadata"]["labels"]
    assert labels["cloud.google.com/gke-tpu-accelerator"] == "tpu-v6e-slice"
    assert labels["cloud.google.com/gke-tpu-topology"] == "4x4"
    assert labels["node.kubernetes.io/instance-type"] == "ct6e-standard-4t"
    assert labels["cloud.google.com/gke-spot"] == "true"
    assert {taint["key"] for taint in node["spec"]["taints"]} == {"google.com/tpu", "cloud.google.com/gke-spot"}
    assert node["status"]["allocatable"]["google.com/tpu"] == "4"


def test_a_gpu_node_has_no_topology() -> None:
    (node,) = nodes([parse("h100")])
    labels = node["metadata"]["labels"]
    assert labels["cloud.google.com/gke-accelerator"] == "nvidia-h100-80gb"
    assert "cloud.google.com/gke-tpu-topology" not in labels
    assert node["status"]["capacity"]["nvidia.com/gpu"] == "8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v9", "with a shape of v6e"),
        ("v6e", "takes a topology"),
        ("h100:2x2", "takes no topology"),
        ("v6e:1x1", "1 chips do not divide into hosts with 4"),
        ("v6e:0x4", "0 chips"),
        ("v6e:4x4=", "write SHAPE"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(Problem, match=message):
        parse(text)


def test_ports_in_use_are_passed_over(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = instance.make("a", cache)
    with socket.create_server(("127.0.0.1", first.port("kube-scheduler"))):
        second = instance.make("a", cache)
    assert second.first_port != first.first_port
    assert instance.known("a", cache) == second
    assert instance.known("b", cache) is None


def test_certificates_are_signed_for_their_purpose(tmp_path: Path) -> None:
    own = instance.make("a", Cache(tmp_path))
    certificates.issue_all(own)
    authority = x509.load_pem_x509_certificate((own.pki / "ca.crt").read_bytes())
    for name, purpose in (("apiserver", ExtendedKeyUsageOID.SERVER_AUTH), ("admin", ExtendedKeyUsageOID.CLIENT_AUTH)):
        certificate = x509.load_pem_x509_certificate((own.pki / f"{name}.crt").read_bytes())
        certificate.verify_directly_issued_by(authority)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [purpose]
        assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
        assert (own.pki / f"{name}.key").stat().st_mode & 0o077 == 0
