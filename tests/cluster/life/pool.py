"""Processes to live many lives in at once: a life needs one processor and nothing else."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache


@cache
def pool() -> ProcessPoolExecutor:
    """Return the pool of this process, with one worker a processor. They end with it."""
    return ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=multiprocessing.get_context("spawn"))
