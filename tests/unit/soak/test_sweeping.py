"""What a bucket server leaves half-written when it ends is swept, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.harness.outage import sweeping


def test_only_what_was_half_written_is_swept(tmp_path: Path) -> None:
    kept = ["data/0-0/.holdfast-complete", "data/0-0/000000000120", "data/0-0/payload.bin", "verdict/0-0.json"]
    half = ["verdict/.0-0.json1874089913874666086", "data/0-0/..holdfast-complete90210341"]
    for name in kept + half:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    told = subprocess.run(sweeping(str(tmp_path)), capture_output=True, text=True, check=True, timeout=30).stdout
    assert sorted(told.split()) == sorted(str(tmp_path / name) for name in half)
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == sorted(kept)
