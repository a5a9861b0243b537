"""Writes the CustomResourceDefinitions and the field reference: `python -m holdfast.api.crd [--check] [--root .]`.

The files are generated from the models and committed, so that a change of the API shows up in a review. With `--check`
nothing is written; the exit code is 1 where a file differs from the models.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from holdfast.api.labels import GROUP, VERSION
from holdfast.api.reference import markdown
from holdfast.api.structural import structural
from holdfast.api.trainingjob import TrainingJob

# The API server stores the last applied configuration in an annotation, of 256 KiB at most.
MAX_BYTES: Final = 200_000

_BANNER: Final = "# Generated from the models in operator/holdfast/api by `make crds`; do not edit.\n"


def _column(name: str, kind: str, path: str, description: str, priority: int = 0) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": priority} if priority else column


TRAINING_JOB_COLUMNS: Final = (
    _column("Phase", "string", ".status.phase", "A summary of the conditions"),
    _column("Step", "integer", ".status.progress.step", "The newest step that a trainer reported"),
    _column("Checkpoint", "integer", ".status.checkpoint.latest.step", "The newest committed step"),
    _column("Attempt", "integer", ".status.attempt", "The current attempt"),
    _column("Workers", "integer", ".status.workers.running", "Workers whose trainer runs"),
    _column("Reason", "string", ".status.reason", "Why the job is in this phase"),
    _column("Restarts", "integer", ".status.restarts", "Restarts that count against recovery.maxRestarts", 1),
    _column("Message", "string", ".status.message", "Why the job is in this phase, and what to do next", 1),
    _column("Age", "date", ".metadata.creationTimestamp", "Since when the job exists"),
)


def training_job() -> dict[str, Any]:
    """Return the CustomResourceDefinition of TrainingJob."""
    schema = structural(TrainingJob)
    standard = {
        "apiVersion": {"description": f"{GROUP}/{VERSION}", "type": "string"},
        "kind": {"description": "TrainingJob", "type": "string"},
        "metadata": {"type": "object"},
    }
    schema["properties"] = {**standard, **schema["properties"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"trainingjobs.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "TrainingJob",
                "listKind": "TrainingJobList",
                "plural": "trainingjobs",
                "singular": "trainingjob",
                "shortNames": ["tj"],
                "categories": ["holdfast"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(TRAINING_JOB_COLUMNS),
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def text(definition: dict[str, Any]) -> str:
    """Return the definition as it is committed."""
    return _BANNER + yaml.dump(definition, Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)


def files() -> dict[str, str]:
    """Return the text of every generated file by its path from the repository's root."""
    definition = training_job()
    plural = definition["spec"]["names"]["plural"]
    return {f"crds/{GROUP}_{plural}.yaml": text(definition), "docs/reference/api.md": markdown(definition)}


class _Plain(yaml.SafeDumper):
    """Writes repeated values out instead of pointing at the first one."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m holdfast.api.crd", description="Generate the CRDs and their reference."
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file is out of date")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository's root")
    options = parser.parse_args(arguments)
    stale = []
    for name, wanted in files().items():
        path = options.root / name
        if not path.exists() or path.read_text(encoding="utf-8") != wanted:
            stale.append(path)
            if not options.check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(wanted, encoding="utf-8")
    for path in stale:
        sys.stdout.write(f"{path}: {'out of date, run make crds' if options.check else 'written'}\n")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
