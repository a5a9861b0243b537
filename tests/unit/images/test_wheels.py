"""Wheels are fetched for the image's platform, whatever the machine runs."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from deploy.images import digits, wheels


def test_wheels_for_the_bases_glibc_and_all_older_ones() -> None:
    platforms = wheels.platforms("x86_64")
    assert platforms[0] == "manylinux_2_36_x86_64"
    assert {"manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"} <= set(platforms)
    assert not any("musl" in one or "2_37" in one for one in platforms)
    assert all(one.endswith("_aarch64") for one in wheels.platforms("aarch64"))


def test_the_digits_are_taken_out_of_the_wheel(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scikit_learn-1.0-cp311.whl", "w") as wheel:
        wheel.writestr(digits.MEMBER, b"data")
    digits.extract(tmp_path, tmp_path / "opt/digits.csv.gz")
    assert (tmp_path / "opt/digits.csv.gz").read_bytes() == b"data"


def test_without_the_wheel_it_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="expected one scikit-learn wheel"):
        digits.extract(tmp_path, tmp_path / "x")
