"""What the operator, the restore step and the sidecar say to each other, as typed JSON.

Three documents cross the border between the operator and a user's pod:

* `SidecarConfig` goes in with the pod, as the environment variable `HOLDFAST_CONFIG` of the restore step and the
  sidecar. It never changes during the life of the pod.
* `Report` comes out: the full state of one restore step or sidecar. Reports are idempotent; the newest
  (`sequence`) replaces all older ones.
* `Answer` goes back with every report and carries the commands that are still to be acknowledged.

`Outcome` is what remains when a container has ended: its termination message (at most 4096 bytes by the kubelet).
All field names are camelCase on the wire. Times are RFC 3339 strings in UTC; durations are seconds.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

VERSION: Final = 1
AUDIENCE: Final = "holdfast.dev/reports"
REPORT_PATH: Final = "/v1/reports"

CONFIG_VARIABLE: Final = "HOLDFAST_CONFIG"
CA_VARIABLE: Final = "HOLDFAST_CA_PEM"
POD_NAME_VARIABLE: Final = "HOLDFAST_POD_NAME"
POD_UID_VARIABLE: Final = "HOLDFAST_POD_UID"

# Where the pod's own volumes are mounted in restore and sidecar; the trainer sees RUN_DIRECTORY too.
VOLUME_ROOT: Final = "/holdfast/volume"
RUN_DIRECTORY: Final = "/run/holdfast"
TOKEN_PATH: Final = "/holdfast/token/token"
SOCKET_PATH: Final = f"{RUN_DIRECTORY}/holdfast.sock"
RESTORED_STEP_PATH: Final = f"{RUN_DIRECTORY}/restored-step"

Role = Literal["Restore", "Sidecar"]
Phase = Literal["Starting", "Restoring", "Watching", "Flushing", "Flushed", "Finished"]
CommandKind = Literal["Checkpoint", "Drain", "Cadence"]
RestorePolicy = Literal["Latest", "Step", "None"]
OutcomeKind = Literal[
    "Restored",
    "Superseded",
    "PrefixTaken",
    "NoRestorableCheckpoint",
    "RestoreRefused",
    "Finished",
    "Interrupted",
]


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A document on the wire: immutable, camelCase, unknown fields ignored so that versions can differ by one."""


class RestoreOrder(Wire, frozen=True, kw_only=True):
    """`spec.checkpoint.restore` as the pods see it; `digest` identifies the order so that it is served once."""

    policy: RestorePolicy = "Latest"
    step: int | None = None
    digest: str = ""


class SidecarConfig(Wire, frozen=True, kw_only=True):
    """Everything that restore and sidecar know about their job and slot.

    `job_created` is the job's `metadata.creationTimestamp`; with `job_uid` and `attempt` it orders the runs.
    `slot` is the slot's name (`<slice>-<host>`), `parts` the number of part manifests a commit needs.
    `destination` is `gs://bucket/prefix`. Empty means that nothing is uploaded: restore only prepares the volume.
    `data_path` and `state_path` are inside `VOLUME_ROOT`.
    """

    namespace: str
    job: str
    job_uid: str
    job_created: str
    attempt: int
    slot: str
    parts: int
    destination: str = ""
    layout: Literal["PerHost", "Shared"] = "PerHost"
    format: Literal["Auto", "Orbax", "Marker"] = "Auto"
    every_steps: int = 100
    keep_last: int = 3
    restore: RestoreOrder = RestoreOrder()
    flush_timeout_s: float = 600.0
    report_url: str = ""
    volume_root: str = VOLUME_ROOT
    run_directory: str = RUN_DIRECTORY
    token_path: str = TOKEN_PATH


class StoreState(Wire, frozen=True, kw_only=True):
    """Whether the bucket can be used. `reason` is a stable CamelCase word, `message` says what to change."""

    ready: bool = True
    reason: str = "Ready"
    message: str = ""


class Progress(Wire, frozen=True, kw_only=True):
    """What the trainer said about itself through the client library; every field may be missing."""

    step: int | None = None
    total: int | None = None
    loss: float | None = None
    steps_per_second: float | None = None


class Commit(Wire, frozen=True, kw_only=True):
    """One committed checkpoint, keyed by `(run, step)`. `object` is the manifest's full name (`gs://...`)."""

    run: int
    step: int
    committed_at: str
    bytes: int = 0
    parts: int = 0
    object: str = ""


class Damage(Wire, frozen=True, kw_only=True):
    """A committed object that did not verify: the reason why a restore fell back to an older commit."""

    run: int
    step: int
    object: str
    problem: str


class Health(Wire, frozen=True, kw_only=True):
    """Whether the trainer's checkpoints look right to the sidecar; `reason` is stable CamelCase."""

    healthy: bool = True
    reason: str = "Healthy"
    message: str = ""


class Report(Wire, frozen=True, kw_only=True):
    """The full state of one restore step or sidecar.

    `last_complete` is the newest step that is complete in the slot's own directory, `part_written` the newest step
    whose part manifest of this slot is in the bucket, `committed` the newest step of this run that this process
    knows to be committed by anybody. `acknowledged` lists the ids of the commands that were carried out. `step_age_s`
    is how long ago, when the report was made, the trainer last told another step than before; an age, so that no two
    clocks are compared.
    """

    version: int = VERSION
    role: Role
    namespace: str
    job: str
    job_uid: str
    attempt: int
    slot: str
    pod_name: str
    pod_uid: str
    sequence: int
    phase: Phase
    store: StoreState = StoreState()
    health: Health = Health()
    progress: Progress = Progress()
    run: int | None = None
    round: int | None = None
    restored_step: int | None = None
    last_complete: int | None = None
    part_written: int | None = None
    committed: int | None = None
    commits: tuple[Commit, ...] = ()
    damages: tuple[Damage, ...] = ()
    pending_bytes: int = 0
    waiting_for: str = ""
    acknowledged: tuple[str, ...] = ()
    step_age_s: float | None = None


class Command(Wire, frozen=True, kw_only=True):
    """An order to one sidecar. Repeated with every answer until a report lists `id` in `acknowledged`.

    `Checkpoint` asks the trainer for a checkpoint and commits it. `Drain` does the same and then flushes everything
    that is complete; it is acknowledged when nothing is left to upload. `Cadence` sets `every_steps`.
    """

    id: str
    kind: CommandKind
    deadline: str
    every_steps: int | None = None


class Answer(Wire, frozen=True, kw_only=True):
    """The operator's answer: how often to report, and what to do. `wait_s` > 0 asks for long polls of that length."""

    interval_s: float = 5.0
    heartbeat_s: float = 30.0
    wait_s: float = 0.0
    commands: tuple[Command, ...] = ()


class Redirect(Wire, frozen=True, kw_only=True):
    """The body of a 421 answer: this replica does not lead; `leader` is the base URL of the one that does."""

    leader: str = ""


class Outcome(Wire, frozen=True, kw_only=True):
    """The termination message of restore (`Restored`, a refusal) and sidecar (`Finished`, `Interrupted`).

    `newest` is the newest commit that the sidecar knew of; it stands in for reports that nobody has heard.
    """

    kind: OutcomeKind
    message: str = ""
    run: int | None = None
    step: int | None = None
    last_complete: int | None = None
    part_written: int | None = None
    committed: int | None = None
    seen_attempt: int | None = None
    seen_uid: str = ""
    object: str = ""
    newest: Commit | None = None
    damages: tuple[Damage, ...] = ()


# Exit codes of restore, distinct so that a missing termination message can still be read (sysexits.h leaves 64..78).
EXIT_SUPERSEDED: Final = 64
EXIT_PREFIX_TAKEN: Final = 65
EXIT_NO_RESTORABLE: Final = 66
EXIT_REFUSED: Final = 67


def encode(document: Wire) -> bytes:
    """Return the document as compact JSON."""
    return msgspec.json.encode(document)
