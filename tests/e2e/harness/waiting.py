"""Waiting with a deadline, and with a diagnosis where it passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

T = TypeVar("T")

_EVERY_S = 0.3


class TimedOut(AssertionError):
    """What was waited for did not come."""


class Hopeless(AssertionError):
    """What was waited for cannot come any more."""


def until(
    what: str,
    ask: Callable[[], T | None],
    *,
    within_s: float,
    explain: Callable[[], str] = str,
    hopeless: Callable[[], str | None] = lambda: None,
) -> T:
    """Ask until the answer is neither None nor False, and return it.

    ``hopeless`` says why the wait is in vain, as soon as it is. Raises `Hopeless` or `TimedOut`, both with
    ``explain()``. A question that fails because the API server or the bucket does not answer is asked again.
    """
    started = time.monotonic()
    trouble = ""
    while time.monotonic() - started < within_s:
        try:
            answer = ask()
            if answer is not None and answer is not False:
                return answer
            why = hopeless()
        except (OSError, HTTPError, ApiException, LookupError) as error:
            trouble, why = f" (last trouble: {error!r})", None
        if why is not None:
            raise Hopeless(f"{what}: cannot come any more: {why}\n{explain()}")
        time.sleep(_EVERY_S)
    raise TimedOut(f"{what}: not within {within_s:.0f} s{trouble}\n{explain()}")


def stays(what: str, ask: Callable[[], bool], *, for_s: float, explain: Callable[[], str] = str) -> None:
    """Ask for ``for_s`` seconds; raises AssertionError as soon as the answer is False."""
    started = time.monotonic()
    while time.monotonic() - started < for_s:
        assert ask(), f"{what}: no longer true after {time.monotonic() - started:.1f} s\n{explain()}"
        time.sleep(_EVERY_S)
