"""What the installation fixes, read once from `HOLDFAST_*` environment variables (the chart sets them)."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SettingsError(Exception):
    """A variable is missing or wrong. The message names it and says what it must be."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """See the variable of each field in `from_environment`. Ports are TCP ports on all addresses of the pod.

    `report_service` is the name of the Service in front of the report endpoint; empty switches reports off.
    """

    namespace: str
    pod_name: str
    pod_ip: str
    sidecar_image: str
    report_service: str = ""
    report_port: int = 8443
    http_port: int = 8080
    sidecar_environment: Mapping[str, str] = field(default_factory=dict)
    workers: int = 32
    lease_name: str = "holdfast-operator"
    authority_secret: str = "holdfast-ca"
    log_level: str = "INFO"

    @property
    def identity(self) -> str:
        """Return the holder of the Lease: pod and address, so that followers can name the leader's address."""
        return f"{self.pod_name}_{self.pod_ip}"

    @property
    def report_host(self) -> str:
        """Return the DNS name that sidecars report to and that the certificate is made for."""
        return f"{self.report_service}.{self.namespace}.svc" if self.report_service else ""

    @property
    def report_url(self) -> str:
        """Return the base URL of the report endpoint, empty where reports are switched off."""
        return f"https://{self.report_host}:{self.report_port}" if self.report_service else ""

    def address_of(self, identity: str) -> str:
        """Return the base URL of the replica that holds the Lease as `identity`, empty where it names no address."""
        _, _, address = identity.rpartition("_")
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return ""
        host = f"[{ip}]" if ip.version == 6 else str(ip)
        return f"https://{host}:{self.report_port}"


def from_environment(environ: Mapping[str, str]) -> OperatorSettings:
    """Return the settings. Raises `SettingsError` naming the first variable that is missing or wrong."""
    level = environ.get("HOLDFAST_LOG_LEVEL", "INFO").upper()
    if level not in LEVELS:
        raise SettingsError(f"HOLDFAST_LOG_LEVEL is {level!r}: set one of {', '.join(LEVELS)}")
    return OperatorSettings(
        namespace=_name(environ, "HOLDFAST_NAMESPACE", "the namespace that the operator runs in"),
        pod_name=_name(environ, "HOLDFAST_POD_NAME", "the name of the operator's own pod"),
        pod_ip=_address(environ),
        sidecar_image=_required(environ, "HOLDFAST_SIDECAR_IMAGE", "the image of the restore step and the sidecar"),
        report_service=_name(environ, "HOLDFAST_REPORT_SERVICE", "a Service's name", required=False),
        report_port=_number(environ, "HOLDFAST_REPORT_PORT", 8443, 1, 65535),
        http_port=_number(environ, "HOLDFAST_HTTP_PORT", 8080, 1, 65535),
        sidecar_environment=_map(environ, "HOLDFAST_SIDECAR_ENV"),
        workers=_number(environ, "HOLDFAST_WORKERS", 32, 1, 256),
        lease_name=_name(environ, "HOLDFAST_LEASE_NAME", "a Lease's name", required=False) or "holdfast-operator",
        authority_secret=_name(environ, "HOLDFAST_CA_SECRET", "a Secret's name", required=False) or "holdfast-ca",
        log_level=level,
    )


def _required(environ: Mapping[str, str], variable: str, meaning: str) -> str:
    value = environ.get(variable, "").strip()
    if not value:
        raise SettingsError(f"{variable} is not set: it must be {meaning}")
    return value


def _name(environ: Mapping[str, str], variable: str, meaning: str, *, required: bool = True) -> str:
    value = _required(environ, variable, meaning) if required else environ.get(variable, "").strip()
    if value and not _NAME.fullmatch(value):
        raise SettingsError(f"{variable} is {value!r}: it must be {meaning}, a DNS name in lower case")
    return value


def _address(environ: Mapping[str, str]) -> str:
    value = _required(environ, "HOLDFAST_POD_IP", "the IP address of the operator's own pod")
    try:
        return str(ipaddress.ip_address(value))
    except ValueError as error:
        raise SettingsError(f"HOLDFAST_POD_IP is {value!r}: it must be one IP address") from error


def _number(environ: Mapping[str, str], variable: str, default: int, low: int, high: int) -> int:
    value = environ.get(variable, "").strip()
    if not value:
        return default
    if not value.isdigit() or not low <= int(value) <= high:
        raise SettingsError(f"{variable} is {value!r}: it must be a whole number from {low} to {high}")
    return int(value)


def _map(environ: Mapping[str, str], variable: str) -> dict[str, str]:
    value = environ.get(variable, "").strip()
    if not value:
        return {}
    try:
        parsed = json.loads(value)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{variable} is no JSON: {error}") from error
    good = isinstance(parsed, dict) and all(
        _VARIABLE.fullmatch(name) and isinstance(text, str) for name, text in parsed.items()
    )
    if not good:
        raise SettingsError(f'{variable} must be a JSON object of strings, such as {{"NAME": "value"}}')
    return dict(parsed)
