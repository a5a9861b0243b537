"""Take the handwritten digits out of scikit-learn's wheel: ``digits.py FOLDER_OF_WHEELS TARGET``.

The trainer needs the data set alone, not scikit-learn, so the wheel is never installed.
"""

import sys
import zipfile
from pathlib import Path

MEMBER = "sklearn/datasets/data/digits.csv.gz"


def extract(folder: Path, target: Path) -> None:
    """Write the data set of the only scikit-learn wheel in ``folder`` to ``target``.

    Raises:
        SystemExit: if there is not exactly one such wheel.
    """
    wheels = sorted(folder.glob("scikit_learn-*.whl"))
    if len(wheels) != 1:
        raise SystemExit(f"expected one scikit-learn wheel in {folder}, found {len(wheels)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheels[0]) as wheel:
        target.write_bytes(wheel.read(MEMBER))


if __name__ == "__main__":
    extract(Path(sys.argv[1]), Path(sys.argv[2]))
