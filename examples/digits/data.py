"""The handwritten digits: 1797 images of 8 x 8 pixels with 17 shades, as scikit-learn ships them.

The file has one line an image: 64 pixels, then the digit. It comes from the optical recognition of handwritten
digits data set of the UCI machine learning repository (E. Alpaydin, C. Kaynak).
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DEFAULT_PATH = "/opt/digits/digits.csv.gz"
PIXELS = 64
SHADES = 16.0
TRAINING = 1440


class Digits(NamedTuple):
    """Images as rows of 64 numbers from 0 to 1, and the digits that they show."""

    images: NDArray[np.float32]
    labels: NDArray[np.int32]


def load() -> tuple[Digits, Digits]:
    """Return the training images (the first 1440) and the test images (the other 357)."""
    path = Path(os.environ.get("DIGITS", DEFAULT_PATH))
    if not path.is_file():
        raise SystemExit(f"{path}: no such file. Set DIGITS to the digits.csv.gz of scikit-learn (datasets/data)")
    with gzip.open(path, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    images = table[:, :PIXELS] / np.float32(SHADES)
    labels = table[:, PIXELS].astype(np.int32)
    return Digits(images[:TRAINING], labels[:TRAINING]), Digits(images[TRAINING:], labels[TRAINING:])


def batch_rows(step: int, batch: int) -> NDArray[np.int64]:
    """Return the rows of the training set that `step` (from 0) sees: a new order each epoch, a function of the step
    alone, so that a run that is resumed sees exactly what it would have seen."""
    epoch, place = divmod(step, TRAINING // batch)
    order = np.random.default_rng(epoch).permutation(TRAINING)
    return order[place * batch : (place + 1) * batch]
