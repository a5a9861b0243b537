"""Every object name below a destination, in one place.

    owner.json                                        the job that the prefix belongs to
    runs/<run>/run.json                               the fence: one run is one attempt
    runs/<run>/restore/inventory/<slot>.json          what a slot has on its own volume
    runs/<run>/restore/<round>/plan.json              the commit that a round proposes
    runs/<run>/restore/<round>/verdict/<slot>.json    what a slot says to it
    runs/<run>/steps/<step>/data/<slot>/<path>        the files
    runs/<run>/steps/<step>/parts/<slot>.json         one slot's part manifest
    runs/<run>/steps/<step>/commit.json               THE commit

Numbers are padded so that names sort as the numbers do. No name is another one followed by a slash, because some
bucket servers keep objects as files.
"""

from __future__ import annotations

import re
from typing import Final

OWNER: Final = "owner.json"
RUNS: Final = "runs/"

_RUN_DIGITS: Final = 8
_ROUND_DIGITS: Final = 4
_STEP_DIGITS: Final = 12
HIGHEST_STEP: Final = 10**_STEP_DIGITS - 1

# Cloud Storage refuses longer names, in bytes of UTF-8 (cloud.google.com/storage/docs/objects#naming).
NAME_LIMIT: Final = 1024
# Refused or asked to be avoided in object names; "%" because it introduces our own escapes.
_ESCAPED: Final = re.compile(r"[\x00-\x1f\x7f%#?\[\]*\\]")

_RUN_FOLDER = re.compile(r"runs/(\d{8})/")
_STEP_FOLDER = re.compile(r"runs/\d{8}/steps/(\d{12})/")
_PLAN = re.compile(r"runs/(\d{8})/restore/(\d{4})/plan\.json")
_VERDICT = re.compile(r"runs/(\d{8})/restore/(\d{4})/verdict/([^/]+)\.json")
_COMMIT = re.compile(r"runs/(\d{8})/steps/(\d{12})/commit\.json")
_STEP = re.compile(r"runs/(\d{8})/steps/(\d{12})/.+")
_PART = re.compile(r"runs/\d{8}/steps/\d{12}/parts/([^/]+)\.json")


def run_folder(run: int) -> str:
    """Return the folder of a run, with its slash."""
    return f"{RUNS}{run:0{_RUN_DIGITS}d}/"


def run_manifest(run: int) -> str:
    """Return the name of a run's own object, whose creation is the fence."""
    return f"{run_folder(run)}run.json"


def restore_folder(run: int) -> str:
    """Return the folder of a run's restore rounds and inventories."""
    return f"{run_folder(run)}restore/"


def inventory_folder(run: int) -> str:
    """Return the folder of the slots' inventories."""
    return f"{restore_folder(run)}inventory/"


def inventory(run: int, slot: str) -> str:
    """Return the name of one slot's inventory."""
    return f"{inventory_folder(run)}{slot}.json"


def plan(run: int, round_: int) -> str:
    """Return the name of a restore round's plan. Rounds count from 1."""
    return f"{restore_folder(run)}{round_:0{_ROUND_DIGITS}d}/plan.json"


def verdict_folder(run: int, round_: int) -> str:
    """Return the folder of a round's verdicts."""
    return f"{restore_folder(run)}{round_:0{_ROUND_DIGITS}d}/verdict/"


def verdict(run: int, round_: int, slot: str) -> str:
    """Return the name of one slot's verdict."""
    return f"{verdict_folder(run, round_)}{slot}.json"


def steps_folder(run: int) -> str:
    """Return the folder of all steps of a run."""
    return f"{run_folder(run)}steps/"


def step_folder(run: int, step: int) -> str:
    """Return the folder of one step."""
    return f"{steps_folder(run)}{step:0{_STEP_DIGITS}d}/"


def data_folder(run: int, step: int, slot: str) -> str:
    """Return the folder of one slot's files of one step."""
    return f"{step_folder(run, step)}data/{slot}/"


def data_object(run: int, step: int, slot: str, path: str) -> str:
    """Return the name of the object for the file `path`, which is relative to the step's directory.

    Characters that the bucket refuses become `%` and two hexadecimal digits; the manifest keeps the true path.
    Raises ValueError where the name would be longer than the bucket allows.
    """
    name = data_folder(run, step, slot) + _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", path)
    if len(name.encode()) > NAME_LIMIT:
        raise ValueError(f"the path {path!r} is too long for an object name of at most {NAME_LIMIT} bytes")
    return name


def parts_folder(run: int, step: int) -> str:
    """Return the folder of a step's part manifests."""
    return f"{step_folder(run, step)}parts/"


def part(run: int, step: int, slot: str) -> str:
    """Return the name of one slot's part manifest."""
    return f"{parts_folder(run, step)}{slot}.json"


def commit(run: int, step: int) -> str:
    """Return the name of the one manifest that makes a step of a run count."""
    return f"{step_folder(run, step)}commit.json"


def parse_run_folder(name: str) -> int | None:
    """Return the run whose folder this is, or None."""
    found = _RUN_FOLDER.fullmatch(name)
    return int(found[1]) if found else None


def parse_step_folder(name: str) -> int | None:
    """Return the step whose folder this is, or None."""
    found = _STEP_FOLDER.fullmatch(name)
    return int(found[1]) if found else None


def parse_plan(name: str) -> tuple[int, int] | None:
    """Return the run and the round whose plan this is, or None."""
    found = _PLAN.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None


def parse_verdict(name: str) -> tuple[int, int, str] | None:
    """Return the run, the round and the slot whose verdict this is, or None."""
    found = _VERDICT.fullmatch(name)
    return (int(found[1]), int(found[2]), found[3]) if found else None


def parse_commit(name: str) -> tuple[int, int] | None:
    """Return the run and the step that this object commits, or None."""
    found = _COMMIT.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None


def parse_step(name: str) -> tuple[int, int] | None:
    """Return the run and the step that this object belongs to in any way, or None."""
    found = _STEP.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None


def parse_part(name: str) -> str | None:
    """Return the slot whose part manifest this is, or None."""
    found = _PART.fullmatch(name)
    return found[1] if found else None
