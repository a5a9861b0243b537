"""The client library in an interpreter that has nothing but the standard library."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.unit.guards.tracked import ROOT

PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
__import__(sys.argv[2])
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
foreign = sorted(loaded - set(sys.stdlib_module_names) - {"holdfast"})
rooms = sorted({name.split(".")[1] for name in sys.modules if name.startswith("holdfast.")})
print(json.dumps([foreign, rooms]))
"""
MODULES = sorted(
    path.relative_to(ROOT / "operator").with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    for path in (ROOT / "operator/holdfast/client").glob("*.py")
)


@pytest.mark.parametrize("module", MODULES)
def test_the_import_needs_the_standard_library_alone(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, str(ROOT / "operator"), module],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], ["client"]]
