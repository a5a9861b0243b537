"""Where the API server is and how to prove who we are: a pod's service account, or a kubeconfig file.

Of a kubeconfig only what a test cluster needs is read: certificates and tokens, inline or as files. Exec plugins and
auth providers are the business of the command line tool, which uses the official client.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from holdfast.seams import Clock

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_AGE_S = 60.0


class CredentialsError(Exception):
    """No usable credentials; the message says which file or variable to look at."""


class Token:
    """A bearer token, read again from its file once a minute and after every 401 (the kubelet rotates it)."""

    def __init__(self, clock: Clock, *, path: Path | None = None, value: str = "") -> None:
        self._clock = clock
        self._path = path
        self._value = value
        self._read_at = float("-inf")

    def header(self) -> dict[str, str]:
        """Return the header that carries the token, nothing where there is none."""
        now = self._clock.monotonic()
        if self._path is not None and now - self._read_at > TOKEN_AGE_S:
            self._value = self._path.read_text().strip()
            self._read_at = now
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def refresh(self) -> bool:
        """Have the file read again at the next use. Return whether there is a file."""
        self._read_at = float("-inf")
        return self._path is not None


@dataclass(frozen=True, slots=True)
class Access:
    """The API server's base URL, how to verify it, and how to prove who we are. `namespace` is our own."""

    server: str
    tls: ssl.SSLContext | None
    token: Token
    namespace: str


def discover(environ: Mapping[str, str], clock: Clock) -> Access:
    """Return the access that the environment gives. `KUBECONFIG` wins over a pod's service account.

    Raises `CredentialsError`.
    """
    if environ.get("KUBECONFIG"):
        return from_kubeconfig(Path(environ["KUBECONFIG"].split(":")[0]), clock)
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environ, clock)
    home = Path(environ.get("HOME", "/")) / ".kube" / "config"
    if home.exists():
        return from_kubeconfig(home, clock)
    raise CredentialsError(
        "no credentials for an API server: set KUBECONFIG, or run in a pod with a service account token mounted"
    )


def in_cluster(environ: Mapping[str, str], clock: Clock, directory: Path = SERVICE_ACCOUNT) -> Access:
    """Return the access of a pod. Raises `CredentialsError` where the service account's files are missing."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    token, authority = directory / "token", directory / "ca.crt"
    if not token.exists() or not authority.exists():
        raise CredentialsError(f"{directory} holds no token: set automountServiceAccountToken on the operator's pod")
    namespace = directory / "namespace"
    return Access(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        tls=ssl.create_default_context(cafile=str(authority)),
        token=Token(clock, path=token),
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
    )


def from_kubeconfig(path: Path, clock: Clock) -> Access:
    """Return the access of the file's current context. Raises `CredentialsError`."""
    try:
        config: Any = yaml.safe_load(path.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        server = str(cluster["server"]).rstrip("/")
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise CredentialsError(f"{path} is no kubeconfig with a usable current-context: {error!r}") from error
    if "exec" in user or "auth-provider" in user:
        raise CredentialsError(f"{path}: exec plugins are not supported here; use a token or a client certificate")
    token_file = user.get("tokenFile")
    return Access(
        server=server,
        tls=_tls(cluster, user, path.parent) if server.startswith("https:") else None,
        token=Token(clock, path=Path(token_file) if token_file else None, value=str(user.get("token", ""))),
        namespace=str(context.get("namespace", "default")),
    )


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry.get("name") == name:
            return entry
    raise KeyError(name)


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], base: Path) -> ssl.SSLContext:
    authority = _material(cluster, "certificate-authority", base)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _material(user, "client-certificate", base), _material(user, "client-key", base)
    if certificate and key:
        # Python loads certificate chains from files only.
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _material(entry: Mapping[str, Any], name: str, base: Path) -> bytes:
    """Return PEM bytes given inline (`<name>-data`, base64) or as a file relative to the kubeconfig."""
    if inline := entry.get(f"{name}-data"):
        return base64.b64decode(inline)
    return (base / str(entry[name])).read_bytes() if entry.get(name) else b""
