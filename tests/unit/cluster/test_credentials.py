"""Where the API server is and who we are: read from a pod's files or a kubeconfig, with clear errors."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.cluster.credentials import TOKEN_AGE_S, CredentialsError, Token, discover, from_kubeconfig, in_cluster
from holdfast.reports.authority import issue_leaf, make_authority
from tests.support.clock import VirtualClock

NOW = datetime.now(UTC)
AUTHORITY = make_authority(NOW)
CLIENT = issue_leaf(AUTHORITY, ["client"], NOW)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kubeconfig(path: Path, *, user: dict[str, Any], cluster: dict[str, Any] | None = None) -> Path:
    file = path / "kubeconfig"
    document = {
        "current-context": "c",
        "contexts": [{"name": "other"}, {"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "team"}}],
        "clusters": [{"name": "k", "cluster": cluster or {"server": "http://127.0.0.1:8001/"}}],
        "users": [{"name": "u", "user": user}],
    }
    file.write_text(yaml.safe_dump(document))
    return file


def test_a_pod_uses_its_service_account(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "ca.crt").write_text(AUTHORITY.certificate_pem)
    (tmp_path / "namespace").write_text("system\n")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    access = in_cluster(environ, VirtualClock(), tmp_path)
    assert access.server == "https://[fd00::1]:6443"
    assert access.namespace == "system"
    assert access.token.header() == {"Authorization": "Bearer t"}
    assert access.tls is not None
    assert access.tls.verify_mode is ssl.CERT_REQUIRED


def test_a_pod_without_a_token_is_told_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="automountServiceAccountToken"):
        in_cluster({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, VirtualClock(), tmp_path)


async def test_a_token_file_is_read_once_a_minute(tmp_path: Path) -> None:
    clock, file = VirtualClock(), tmp_path / "token"
    file.write_text("one")
    token = Token(clock, path=file)
    assert token.header() == {"Authorization": "Bearer one"}
    file.write_text("two")
    assert token.header() == {"Authorization": "Bearer one"}
    await clock.advance(TOKEN_AGE_S + 1)
    assert token.header() == {"Authorization": "Bearer two"}
    file.write_text("three")
    assert token.refresh()
    assert token.header() == {"Authorization": "Bearer three"}


def test_a_fixed_token_cannot_be_read_again() -> None:
    token = Token(VirtualClock(), value="t")
    assert not token.refresh()
    assert token.header() == {"Authorization": "Bearer t"}
    assert Token(VirtualClock()).header() == {}


def test_a_kubeconfig_with_inline_certificates(tmp_path: Path) -> None:
    certificate, key = CLIENT.chain_pem, CLIENT.key_pem
    file = kubeconfig(
        tmp_path,
        user={"client-certificate-data": b64(certificate), "client-key-data": b64(key)},
        cluster={"server": "https://127.0.0.1:6443", "certificate-authority-data": b64(AUTHORITY.certificate_pem)},
    )
    access = from_kubeconfig(file, VirtualClock())
    assert access.server == "https://127.0.0.1:6443"
    assert access.namespace == "team"
    assert access.tls is not None
    assert len(access.tls.get_ca_certs()) == 1


def test_a_kubeconfig_with_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(AUTHORITY.certificate_pem)
    (tmp_path / "token").write_text("from-a-file")
    cluster = {"server": "https://127.0.0.1:6443", "certificate-authority": "ca.pem"}
    file = kubeconfig(tmp_path, user={"tokenFile": str(tmp_path / "token")}, cluster=cluster)
    access = from_kubeconfig(file, VirtualClock())
    assert access.token.header() == {"Authorization": "Bearer from-a-file"}


def test_a_proxy_without_tls(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, user={"token": "t"}), VirtualClock())
    assert access.server == "http://127.0.0.1:8001"
    assert access.tls is None


def test_verification_is_only_off_where_the_file_says_so(tmp_path: Path) -> None:
    cluster = {"server": "https://127.0.0.1:6443", "insecure-skip-tls-verify": True}
    access = from_kubeconfig(kubeconfig(tmp_path, user={}, cluster=cluster), VirtualClock())
    assert access.tls is not None
    assert access.tls.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "no kubeconfig"), ("[]", "no kubeconfig"), (": :", "no kubeconfig"), ("current-context: x", "no kubeconfig")],
)
def test_an_odd_file_is_named(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "odd"
    file.write_text(text)
    with pytest.raises(CredentialsError, match=why):
        from_kubeconfig(file, VirtualClock())


def test_exec_plugins_are_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="use a token or a client certificate"):
        from_kubeconfig(kubeconfig(tmp_path, user={"exec": {"command": "x"}}), VirtualClock())


def test_discovery_prefers_what_is_named(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, user={"token": "t"})
    environ = {"KUBECONFIG": f"{file}:/other", "KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOME": str(tmp_path)}
    assert discover(environ, VirtualClock()).server == "http://127.0.0.1:8001"
    home = tmp_path / ".kube"
    home.mkdir()
    file.rename(home / "config")
    assert discover({"HOME": str(tmp_path)}, VirtualClock()).server == "http://127.0.0.1:8001"
    with pytest.raises(CredentialsError, match="set KUBECONFIG"):
        discover({"HOME": "/nowhere"}, VirtualClock())
