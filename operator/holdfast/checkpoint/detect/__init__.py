"""Finding complete steps in the trainer's directory, by format, each with its evidence.

Nothing is ever opened or unpickled to find out: names, marker files and stat calls are enough for the formats here.
"""

from holdfast.checkpoint.detect.found import Found, Scan, Unfinished
from holdfast.checkpoint.detect.scan import scan, scan_complete

__all__ = ["Found", "Scan", "Unfinished", "scan", "scan_complete"]
