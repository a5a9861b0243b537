"""The chart as Helm renders it."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from typing import Any

import yaml

from deploy.chart import CHART, helm

# Helm built from its module alone assumes an ancient cluster where it cannot ask one.
KUBERNETES = "1.36.3"
Fields = dict[str, Any]


@cache
def _render(values: str) -> tuple[int, str, str]:
    words = [str(helm()), "template", "holdfast", str(CHART), "--namespace", "holdfast-system"]
    words += ["--kube-version", KUBERNETES, "--values", "-"]
    done = subprocess.run(words, input=values, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def render(**values: object) -> list[Fields]:
    """All objects that the chart makes with these values."""
    code, output, errors = _render(json.dumps(values))
    assert code == 0, errors
    return [document for document in yaml.safe_load_all(output) if document]


def refusal(**values: object) -> str:
    """What Helm says about values that the chart does not accept."""
    code, _, errors = _render(json.dumps(values))
    assert code != 0, "Helm has accepted these values"
    return errors


def only(documents: list[Fields], kind: str, name: str | None = None) -> Fields:
    """The one object of that kind (and name)."""
    found = [one for one in documents if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects of kind {kind} {name or ''}"
    return found[0]
