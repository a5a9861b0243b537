"""Progress with elapsed times, and the one exception that carries a remedy to the person at the terminal.

Progress goes to standard error, so that verbs which print a value (a path, a URL) can be captured.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_STARTED = time.monotonic()


class Problem(Exception):
    """Something cannot go on; the text says what to change."""


def say(message: str) -> None:
    """Print one line of progress, stamped with the seconds since the program started."""
    print(f"[{time.monotonic() - _STARTED:6.1f}s] {message}", file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Announce ``what``, and say how many seconds it took once it is done."""
    started = time.monotonic()
    say(f"{what} ...")
    yield
    say(f"{what}: done in {time.monotonic() - started:.1f} s")
