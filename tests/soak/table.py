"""What the soak prints at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.soak.jobs import Book
from tests.soak.recoveries import Recoveries
from tests.soak.slopes import MIB, Verdict
from tests.soak.terms import TermVerdict


def of_events(made: Counter[str], refused: Counter[str], recoveries: Recoveries, book: Book) -> str:
    """The faults with the time until all was well again, and the jobs."""
    rows = [("fault", "made", "not possible", "recoveries", "median", "max", "moot")]
    for kind in sorted(set(made) | set(refused)):
        seen, middle, longest = recoveries.told(kind)
        times = (f"{middle:.0f} s", f"{longest:.0f} s") if seen else ("-", "-")
        rows.append((kind, str(made[kind]), str(refused[kind]), str(seen), *times, str(recoveries.moot[kind])))
    words = ("started", "succeeded", "deleted", "applied again", "judged")
    jobs = ", ".join(f"{book.counts[word]} {word}" for word in words)
    causes = ", ".join(f"{cause} {count}" for cause, count in book.causes.most_common())
    return f"\n{_aligned(rows)}\n\njobs: {jobs}\nattempts of those that succeeded: {causes or 'none'}"


def of_usage(verdicts: Sequence[Verdict]) -> str:
    """What was used, and how it grew."""
    rows = [("process", "what", "lives", "seen", "first", "last", "highest", "limit", "growth/h", "limit/h", "")]
    for one in verdicts:
        scale = MIB if one.limit.what == "memory" else 1.0
        unit = " MiB" if one.limit.what == "memory" else ""
        growth = "too short" if one.unjudged else "-" if one.per_hour is None else f"{one.per_hour / scale:+.1f}{unit}"
        limit = "-" if one.limit.per_hour is None else f"{one.limit.per_hour / scale:+.0f}{unit}"
        rows.append(
            (
                one.role,
                one.limit.what,
                str(one.lives),
                f"{one.seen_s:.0f} s",
                f"{one.first / scale:.0f}{unit}",
                f"{one.last / scale:.0f}{unit}",
                f"{one.highest / scale:.0f}{unit}",
                f"{one.limit.most / scale:.0f}{unit}",
                growth,
                limit,
                "BREACH" if one.breach else "",
            )
        )
    return f"\n{_aligned(rows)}"


def of_terms(verdicts: Sequence[TermVerdict]) -> str:
    """How what replicas use grew with each term that they led."""
    rows = [("replica", "what", "returns", "growth/term", "limit/term", "")]
    for one in verdicts:
        scale = MIB if one.what == "memory" else 1.0
        unit = " MiB" if one.what == "memory" else ""
        growth = "too few" if one.per_term is None else f"{one.per_term / scale:+.2f}{unit}"
        row = (one.role, one.what, str(one.returns), growth, f"{one.limit / scale:+.0f}{unit}")
        rows.append((*row, "BREACH" if one.breach else ""))
    return f"\n{_aligned(rows)}"


def of_breaches(breaches: Sequence[str], minutes: float, seed: int) -> str:
    """The last word."""
    what = f"{minutes:g} minutes, seed {seed}"
    if not breaches:
        return f"\nsoak of {what}: every promise held, and nothing grows"
    return "\n".join([f"\nsoak of {what}: {len(breaches)} breaches", *(f"  - {one}" for one in breaches)])


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
