"""What the pod tells this process, checked before anything begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from holdfast.api import wire
from holdfast.checkpoint.runs import moment
from holdfast.checkpoint.store.gcs import parse_destination
from holdfast.checkpoint.store.gcs_errors import BadDestination

TERMINATION_VARIABLE: Final = "HOLDFAST_TERMINATION_LOG"
TERMINATION_LOG: Final = "/dev/termination-log"


class BadEnvironment(Exception):
    """The configuration cannot be used. The message names the variable and says what to change."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The job's configuration, and this pod's identity."""

    config: wire.SidecarConfig
    pod_name: str
    pod_uid: str
    ca_pem: str
    termination_log: Path

    @property
    def volume(self) -> Path:
        """The root of the job's volume."""
        return Path(self.config.volume_root)

    @property
    def token(self) -> Path:
        """The token that proves to the operator which pod this is."""
        return Path(self.config.token_path)

    @property
    def socket(self) -> Path:
        """The socket for the trainer."""
        return Path(self.config.run_directory) / "holdfast.sock"

    @property
    def restored_step(self) -> Path:
        """The file that tells the trainer which step was restored; empty where none was."""
        return Path(self.config.run_directory) / "restored-step"


def read(variables: Mapping[str, str]) -> Environment:
    """Return the environment. Raises `BadEnvironment`."""
    text = variables.get(wire.CONFIG_VARIABLE)
    if not text:
        raise BadEnvironment(f"{wire.CONFIG_VARIABLE} is not set: the operator sets it in the pods that it creates")
    try:
        config = msgspec.json.decode(text, type=wire.SidecarConfig)
    except msgspec.DecodeError as error:
        raise BadEnvironment(f"{wire.CONFIG_VARIABLE} is not a valid configuration: {error}") from error
    _check(config)
    return Environment(
        config=config,
        pod_name=variables.get(wire.POD_NAME_VARIABLE, ""),
        pod_uid=variables.get(wire.POD_UID_VARIABLE, ""),
        ca_pem=variables.get(wire.CA_VARIABLE, ""),
        termination_log=Path(variables.get(TERMINATION_VARIABLE, TERMINATION_LOG)),
    )


def _check(config: wire.SidecarConfig) -> None:
    variable = wire.CONFIG_VARIABLE
    if config.parts < 1 or config.attempt < 0:
        raise BadEnvironment(f"{variable}: parts must be at least 1 and attempt at least 0")
    if not config.slot or "/" in config.slot:
        raise BadEnvironment(f"{variable}: slot {config.slot!r} must be a name without slashes")
    if config.restore.policy == "Step" and config.restore.step is None:
        raise BadEnvironment(f"{variable}: restore.policy Step needs restore.step")
    try:
        moment(config.job_created)
    except ValueError as error:
        raise BadEnvironment(f"{variable}: jobCreated must be an RFC 3339 time: {error}") from error
    try:
        if config.destination:
            parse_destination(config.destination)
    except BadDestination as error:
        raise BadEnvironment(f"{variable}: {error}") from error
