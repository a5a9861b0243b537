"""The pages about metrics and logs, made from what the code defines: `python -m holdfast.app.reference [--check]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from holdfast.app import log_events, series
from holdfast.app.series import Series

_METRICS: Final = """# Metrics

<!-- Generated from operator/holdfast/app/series.py by `make reference`; do not edit. -->

Every replica of the operator serves these at `/metrics` on port 8080, in the text format of Prometheus. Labels take
their values from the closed sets below, and what is in none of them counts as `other`: there is no series a job, a pod
or a node. Counters that tell of jobs count on the replica that leads only, so take their `sum` over the replicas;
gauges of jobs are the same on all of them, so take the `max`; reports go to the leader alone.

Restore steps and sidecars have no port of their own: what they report is aggregated here.
"""

_LOGS: Final = """# Logs

<!-- Generated from operator/holdfast/app/log_events.py by `make reference`; do not edit. -->

Operator, restore and sidecar write one JSON object a line to standard error. `time`, `level` and `event` are in each;
the other fields depend on the event. An event's name never changes its meaning, so alerts and searches can be written
against it. Lines of libraries have the event `log` and their text in `message`; an exception is in `exception`.
"""


def metrics_page() -> str:
    """Return the page about metrics."""
    lines = [
        _METRICS,
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
        *(_row(one) for one in series.OWN),
        "",
        "## The process",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
        *(_row(one) for one in series.PROCESS),
        "",
        "## Labels",
        "| label | values |",
        "|---|---|",
        *_labels(),
        "",
        "## Histograms",
        "`NAME_bucket{le}`, `NAME_sum` and `NAME_count`, with these limits:",
        "",
        "| metric | limits |",
        "|---|---|",
        *(
            f"| `{one.name}` | {', '.join(f'{limit:g}' for limit in one.buckets)} |"
            for one in series.OWN
            if one.buckets
        ),
    ]
    return "\n".join(lines) + "\n"


def logs_page() -> str:
    """Return the page about logs."""
    lines = [_LOGS]
    for topic, about in log_events.TOPICS.items():
        lines += [f"## {topic}: {about}", "| event | meaning |", "|---|---|"]
        lines += [f"| `{name}` | {text} |" for name, text in log_events.EVENTS.items() if _topic(name) == topic]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def files() -> dict[str, str]:
    """Return the text of every page by its path from the repository's root."""
    return {"docs/reference/metrics.md": metrics_page(), "docs/reference/logs.md": logs_page()}


def main(arguments: list[str] | None = None) -> int:
    """Write or check the pages; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m holdfast.app.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a page is out of date")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository's root")
    options = parser.parse_args(arguments)
    stale = [
        (options.root / name, text)
        for name, text in files().items()
        if not (options.root / name).exists() or (options.root / name).read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        if not options.check:
            path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path}: {'out of date, run make reference' if options.check else 'written'}\n")
    return 1 if stale and options.check else 0


def _row(one: Series) -> str:
    labels = ", ".join(f"`{label}`" for label in one.labels)
    return f"| `{one.name}` | {one.kind} | {labels} | {one.meaning} |"


def _labels() -> Iterator[str]:
    for label in sorted({label for one in series.OWN for label in one.labels}):
        words = series.LABELS[label]
        values = "an HTTP status; 0 is no answer" if words is None else ", ".join(f"`{word}`" for word in words)
        yield f"| `{label}` | {values} |"


def _topic(event: str) -> str:
    return event.partition(".")[0]


if __name__ == "__main__":
    sys.exit(main())
