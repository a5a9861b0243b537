"""A plain user for tests of what root may do and others may not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def plain_user_root() -> Iterator[Path]:
    """A directory of a user without rights; the test runs as that user."""
    uid, gid = os.geteuid(), os.getegid()
    # pytest's own temporary directories are closed to other users.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o777)
        if uid == 0:
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            if uid == 0:
                os.seteuid(uid)
                os.setegid(gid)
