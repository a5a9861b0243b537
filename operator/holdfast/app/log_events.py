"""Every event that a log line of the operator, of restore or of the sidecar can have: `topic.what`, and what it means.

The names are constants in the code, in a call of a logger; a test finds each of them there and here. What libraries
log has the event `log` and its text in `message`.
"""

from __future__ import annotations

from typing import Final

LIBRARY: Final = "log"

TOPICS: Final = {
    "operator": "the operator's process",
    "lease": "leader election",
    "engine": "what a replica does while it leads",
    "pass": "one pass for one object",
    "watch": "lists and watches of the API server",
    "event": "Kubernetes Events about objects",
    "reports": "the endpoint that restore and sidecar report to",
    "loop": "the event loop",
    "sidecar": "the processes in every pod",
    "restore": "the restore step of a pod",
    "flush": "the preStop hook of a pod",
    "checkpoint": "the data path in restore and sidecar",
}

EVENTS: Final = {
    "operator.started": "The process has read its settings. Fields: version, identity, workers.",
    "operator.bad_settings": "A variable or the credentials are missing or wrong; `error` says which. It exits with 2.",
    "operator.broken": "The process ends because of an error that nothing catches; the kubelet starts it anew.",
    "lease.acquired": "This replica leads from now on.",
    "lease.lost": "This replica does not lead any more; it finishes nothing that it has not begun.",
    "lease.unreachable": "A try to take or renew the lease was not answered; the next one follows in 2 s.",
    "engine.leads": "The caches are filled and the workers begin. `objects` is how many wait for them.",
    "pass.put_off": "The cache does not show the object or its pods as they are yet; the pass is made again.",
    "pass.list_failed": "A new leader could not list a kind, to know whether its cache is new; again in 5 s.",
    "pass.held_up": "For 10 s `objects` have not been planned, as `pass.put_off` tells; `problem` is the oldest one's.",
    "pass.incomplete": "Something of a plan was refused or failed; `problems` names it. It is tried again.",
    "pass.failed": "A plan raised an exception, which is a bug; please report it. Other objects are not touched.",
    "watch.failed": "A list or watch failed and is begun anew after a pause. Seen once or twice while a CRD is new.",
    "watch.odd_object": "An object could not be read; the one known before stays.",
    "watch.disordered": "A watch sent an older version after a newer one; the resource is listed anew.",
    "event.not_posted": "A Kubernetes Event could not be posted; it is not tried again.",
    "reports.not_ready": "The endpoint lacks its authority or its port; it tries again.",
    "reports.leaf_issued": "A new server certificate is in use, until `endsAt`.",
    "reports.listening": "The endpoint listens.",
    "reports.foreign_sender": "A pod sent a report about another pod, and was refused.",
    "loop.late": "The event loop ran `seconds` later than it should have: too little processor, or a long computation.",
    "sidecar.bad_environment": "The container was not started as Holdfast renders it; `error` says what is missing.",
    "sidecar.not_restored": "The sidecar found a volume that no restore step has prepared, and ends.",
    "sidecar.broken": "The process ends because of an error that nothing catches; the kubelet starts it anew.",
    "sidecar.commanded": "A command of the operator is carried out.",
    "sidecar.command_refused": "A command cannot be carried out; `error` says why.",
    "sidecar.report_failed": "The operator did not take a report. Told once for each absence; training goes on.",
    "sidecar.report_broken": "A report could not be written, which is a bug; please report it.",
    "sidecar.report_arrived_again": "The operator takes reports again.",
    "sidecar.trainer_does_not_read": "The trainer does not read what the sidecar sends; its connection was closed.",
    "sidecar.finishing": "The last main container has ended; what is complete is sent.",
    "sidecar.finished": "The sidecar leaves. `committed` is the newest committed step that it knows of.",
    "restore.ended": "The restore step leaves. `kind` is its outcome, `step` what it restored.",
    "flush.done": "All that was complete is sent.",
    "flush.not_finished": "Not all was sent within the flush timeout; the sidecar goes on with it.",
    "flush.failed": "The sidecar could not be asked to flush; it flushes anyway when it is stopped.",
    "checkpoint.declarations_not_written": "The trainer's words could not be noted on the volume.",
    "checkpoint.pin_not_removed": "A held step could not be let go; the next life of the sidecar removes it.",
    "checkpoint.older_attempt_writes": "What an older attempt left could not be cleared: something writes there.",
    "checkpoint.journal_not_written": "How far an upload is could not be noted; after a crash it begins anew.",
}
