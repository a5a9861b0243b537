"""The ways in which the data path ends early, apart from the bucket's own errors."""

from __future__ import annotations

from holdfast.api.wire import Outcome


class Refusal(Exception):
    """Restore must not go on. `outcome` is what the container leaves behind."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.kind}: {outcome.message}")
        self.outcome = outcome


class Damaged(Exception):
    """Proof that a committed object is not what its manifest says. `object` is its name, `problem` one sentence."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.object = name
        self.problem = problem


class TornRead(Exception):
    """A file changed while it was read or between detection and reading: the step is not what was found complete."""


class Vanished(Exception):
    """The trainer removed the step, or a part of it, before it could be held."""


class Unsupported(Exception):
    """The step holds something that cannot be kept in a bucket. The message says what, and what to change."""


class NotRestored(Exception):
    """The sidecar was started on a volume where no restore step of this attempt ended well."""
