"""Every metric of the operator as data: name, type, labels, meaning. `metrics` makes the series from it and
`reference` the page docs/reference/metrics.md, so that neither can tell anything else.

Labels take their values from closed sets only, so the number of series is bounded by this file and not by use: there is
none a job, a pod or a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from holdfast.api.reason_facts import FACTS
from holdfast.api.reasons import Reason, Sort
from holdfast.api.status import Phase
from holdfast.cluster.lease import LEASES
from holdfast.planning.plan import CLAIMS, EVENTS, NODES, PODS, SERVICES, STORAGE_CLASSES, TRAINING_JOBS
from holdfast.training.endings import CAUSES

Kind = Literal["counter", "gauge", "histogram"]

OTHER: Final = "other"

_SHORT_S: Final = (0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 4.0, 15.0)
_LONG_S: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0)
_BYTES: Final = (1e3, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12)


def _words(*sorts: Sort) -> tuple[str, ...]:
    return tuple(reason.value for reason in Reason if FACTS[reason].sort in sorts)


# What each label can say besides `other`. None: a number that is bounded by what HTTP knows.
LABELS: Final[Mapping[str, tuple[str, ...] | None]] = {
    "verb": ("get", "list", "watch", "create", "patch", "update", "delete"),
    "code": None,
    "resource": (
        *(one.plural for one in (TRAINING_JOBS, PODS, SERVICES, CLAIMS, STORAGE_CLASSES, NODES, EVENTS, LEASES)),
        f"{TRAINING_JOBS.plural}/status",
        "strangers",
        "secrets",
        "tokenreviews",
    ),
    "result": ("done", "retry", "error"),
    "phase": tuple(phase.value for phase in Phase),
    "reason": _words(Sort.WAITING, Sort.REFUSED),
    "store_reason": tuple(
        reason.value
        for reason in (
            Reason.BUCKET_NOT_FOUND,
            Reason.ACCESS_DENIED,
            Reason.STORE_UNAVAILABLE,
            Reason.STORE_REFUSED,
            Reason.RETENTION_FAILED,
        )
    ),
    "cause": tuple(cause.value for cause in CAUSES),
    "outcome": (
        "Restored",
        "Superseded",
        "PrefixTaken",
        "NoRestorableCheckpoint",
        "RestoreRefused",
        "Interrupted",
        "Failed",
    ),
    "pod_phase": ("Starting", "Restoring", "Watching", "Flushing", "Flushed", "Finished"),
}


@dataclass(frozen=True, slots=True)
class Series:
    """One metric. `buckets` are those of a histogram; every label is one of `LABELS`."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


LEADER: Final = Series(
    "holdfast_leader", "gauge", "1 on the replica that leads, else 0; the sum is 1, but for seconds."
)
LEASE_SILENCE: Final = Series(
    "holdfast_lease_silence_seconds",
    "gauge",
    "Time since the API server last answered a try to take or renew the lease.",
)
QUEUE_DEPTH: Final = Series("holdfast_queue_depth", "gauge", "Objects that wait for a worker.")
QUEUE_OLDEST: Final = Series("holdfast_queue_oldest_seconds", "gauge", "How long the oldest of them has been waiting.")
QUEUE_BUSY: Final = Series("holdfast_queue_busy", "gauge", "Objects that are being worked on.")
QUEUE_BACKING_OFF: Final = Series(
    "holdfast_queue_backing_off", "gauge", "Objects whose last pass did not succeed, so that the next one waits longer."
)
PASSES: Final = Series(
    "holdfast_reconcile_seconds",
    "histogram",
    "Duration of one pass for one object: `done`, `retry` (it comes again after a back-off) or `error` (a bug).",
    ("result",),
    _SHORT_S,
)
EXPECTATIONS: Final = Series(
    "holdfast_expecting_objects", "gauge", "Objects that are not planned before the caches show their last writes."
)
UNCONFIRMED: Final = Series(
    "holdfast_unconfirmed_objects",
    "gauge",
    "Objects not planned for 10 s and more: the API server does not say that the caches show them as they are.",
)
API_REQUESTS: Final = Series(
    "holdfast_api_requests_total",
    "counter",
    "Requests to the API server. `code` is 200 for every success and 0 for no answer; watches count when they open.",
    ("verb", "resource", "code"),
)
API_SECONDS: Final = Series(
    "holdfast_api_request_seconds", "histogram", "Duration of requests to the API server.", ("verb",), _SHORT_S
)
WATCH_SILENCE: Final = Series(
    "holdfast_watch_silence_seconds",
    "gauge",
    "Time since anything was heard of a list or watch, that of `strangers` (pods of others) too; bookmarks come about "
    "once a minute.",
    ("resource",),
)
WATCHED_OBJECTS: Final = Series(
    "holdfast_watched_objects",
    "gauge",
    "Objects in the caches; `strangers` are pods of others that hold TPU chips.",
    ("resource",),
)
LISTS: Final = Series("holdfast_lists_total", "counter", "Complete lists that have filled a cache.", ("resource",))
ODD_OBJECTS: Final = Series(
    "holdfast_odd_objects_total",
    "counter",
    "Objects that could not be read and were left as known before.",
    ("resource",),
)
REPORTS: Final = Series("holdfast_reports_total", "counter", "Requests to the report endpoint.", ("code",))
REPORTING_PODS: Final = Series(
    "holdfast_reporting_pods",
    "gauge",
    "Pods whose newest report is held, by what restore step or sidecar does.",
    ("pod_phase",),
)
REPORT_OLDEST: Final = Series(
    "holdfast_report_oldest_seconds",
    "gauge",
    "Age of the oldest of these reports; a sidecar reports every 30 s or sooner.",
)
STORE_TROUBLE: Final = Series(
    "holdfast_store_trouble_pods", "gauge", "Pods that report trouble with their bucket, by reason.", ("store_reason",)
)
PENDING_BYTES: Final = Series(
    "holdfast_pending_bytes", "gauge", "Bytes of complete checkpoints that pods have not uploaded yet, over all pods."
)
COMMANDED_PODS: Final = Series(
    "holdfast_commanded_pods", "gauge", "Pods with commands that they have not acknowledged."
)
TOKEN_REVIEWS: Final = Series(
    "holdfast_token_reviews_total",
    "counter",
    "Tokens that had to be shown to the API server because its keys were not enough to verify them.",
)
REPORT_CONNECTIONS: Final = Series(
    "holdfast_report_connections", "gauge", "Open connections of the report endpoint, idle ones too."
)
REPORT_POLLS: Final = Series(
    "holdfast_report_polls",
    "gauge",
    "Reports that wait for a command, at most 2000: beyond that, commands come with the answers to ordinary reports.",
)
ANSWERED_PODS: Final = Series("holdfast_answered_pods", "gauge", "Pods whose last answer is remembered.")
JOBS: Final = Series("holdfast_trainingjobs", "gauge", "TrainingJobs by phase.", ("phase",))
JOBS_WAITING: Final = Series(
    "holdfast_trainingjobs_waiting",
    "gauge",
    "TrainingJobs whose status gives a reason for waiting, or for not being carried out.",
    ("reason",),
)
ATTEMPTS_STARTED: Final = Series(
    "holdfast_attempts_started_total", "counter", "Attempts that were begun, the first of each job included."
)
ATTEMPTS_ENDED: Final = Series(
    "holdfast_attempts_ended_total", "counter", "Attempts that ended, by cause as in `status.attempts`.", ("cause",)
)
COMMITS: Final = Series("holdfast_commits_total", "counter", "Checkpoints that were committed.")
COMMIT_BYTES: Final = Series("holdfast_commit_bytes", "histogram", "Size of each of them, all parts.", (), _BYTES)
COMMIT_INTERVAL: Final = Series(
    "holdfast_commit_interval_seconds",
    "histogram",
    "Time between one commit of a job and its next one: the most that a failure just before it would have cost.",
    (),
    _LONG_S,
)
COMMIT_OLDEST: Final = Series(
    "holdfast_oldest_commit_seconds",
    "gauge",
    "On the leader: the greatest age, over all running jobs, of the newest commit (before the first: of the attempt).",
)
RESTORES: Final = Series(
    "holdfast_restores_total", "counter", "Restore steps of pods that ended; `Failed` left no word.", ("outcome",)
)
RESTORE_SECONDS: Final = Series(
    "holdfast_restore_seconds",
    "histogram",
    "Duration of restore steps that restored, waits for peers included.",
    (),
    _LONG_S,
)
LOOP_LAG: Final = Series(
    "holdfast_loop_lag_seconds", "gauge", "How late the event loop was at worst within the last minute."
)
TASKS: Final = Series("holdfast_tasks", "gauge", "Tasks of the event loop.")
THREADS: Final = Series("holdfast_threads", "gauge", "Threads of the process.")
SOCKETS: Final = Series("holdfast_open_sockets", "gauge", "Open sockets of the process.")

# Those of the process itself have the names that Prometheus' own clients use; prometheus-client makes them.
PROCESS: Final = (
    Series("process_virtual_memory_bytes", "gauge", "Virtual memory of the process."),
    Series("process_resident_memory_bytes", "gauge", "Resident memory of the process."),
    Series("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970."),
    Series("process_cpu_seconds_total", "counter", "Processor time of the process, user and system."),
    Series("process_open_fds", "gauge", "Open files of the process."),
    Series("process_max_fds", "gauge", "How many files it may have open."),
)

OWN: Final = tuple(value for value in dict(globals()).values() if isinstance(value, Series))
ALL: Final = OWN + PROCESS


def bounded(label: str, value: str) -> str:
    """Return `value` where the label can say it, else `other`: what comes from outside never makes a new series."""
    words = LABELS[label]
    if words is None:
        return value if value.isdigit() and int(value) < 600 else OTHER
    return value if value in words else OTHER
