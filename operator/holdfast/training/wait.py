"""A wait: one reason, and a message that quotes others without letting them drown what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.api.reasons import Reason

# Messages end at 1000 characters, and the advice comes last.
QUOTE_LIMIT: Final = 600


@dataclass(frozen=True, slots=True)
class Wait:
    """What a job waits for. `reason` is stable; `message` says what to do next."""

    reason: Reason
    message: str


def quoted(text: str, limit: int = QUOTE_LIMIT) -> str:
    """Return somebody else's words as one sentence of at most `limit` characters."""
    flat = " ".join(text.split())
    if len(flat) > limit:
        return f"{flat[: limit - 1]}…"
    return flat if flat.endswith((".", "!", "?")) else f"{flat}."
