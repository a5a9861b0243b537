"""Writes as the API server itself counts them (`apiserver_request_total`), by verb and kind."""

from __future__ import annotations

import re
from collections import Counter

from holdfast.seams import ApiTransport

# Verbs as the metric has them.
WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
# Heartbeats of nodes and leaders: they go on whether anything happens or not.
_HEARTBEATS = frozenset({"leases", "nodes", "nodes/status"})
_LINE = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Writes = Counter[str]


async def writes(transport: ApiTransport) -> Writes:
    """Return the writes so far, as `VERB resource[/subresource][ (dry run)][ CODE]`, the code where it is an error."""
    return parse((await transport.request("GET", "/metrics", timeout_s=30)).decode())


def parse(text: str) -> Writes:
    """Read the exposition of the API server's metrics."""
    found: Writes = Counter()
    for line in _LINE.finditer(text):
        labels = dict(_LABEL.findall(line["labels"]))
        resource = "/".join(part for part in (labels["resource"], labels["subresource"]) if part)
        if labels["verb"] not in WRITES or resource in _HEARTBEATS:
            continue
        dry = " (dry run)" if labels["dry_run"] else ""
        refused = "" if labels["code"].startswith("2") else f" {labels['code']}"
        found[f"{labels['verb']} {resource}{dry}{refused}"] += int(float(line["value"]))
    return found


def between(before: Writes, after: Writes) -> Writes:
    """Return what was written from one count to the next."""
    return Counter({name: after[name] - before[name] for name in after if after[name] > before[name]})
