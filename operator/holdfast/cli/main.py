"""The entry point of `holdfast`. It imports nothing but the standard library before it knows that the rest is there."""

from __future__ import annotations

import importlib
import sys
from typing import Final

_EXTRA: Final = "pip install '.[cli]' (in a clone of Holdfast)"
# What the extra brings, as in pyproject.toml.
NEEDED: Final = ("kubernetes", "rich", "typer")


def main() -> None:
    """Run the command. Without its extra it ends with one line and exit code 2."""
    try:
        for name in NEEDED:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"holdfast: the command needs the module {error.name}, which is not installed: {_EXTRA}\n")
        sys.exit(2)
    from holdfast.cli.commands import run

    run()
