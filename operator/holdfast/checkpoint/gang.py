"""Which slots do the work of the data path."""

from __future__ import annotations

from typing import Final

from holdfast.api.wire import SidecarConfig

FIRST_SLOT: Final = "0-0"


def takes_part(config: SidecarConfig) -> bool:
    """Say whether this slot restores, detects and uploads: on a volume that all hosts share, only the first does."""
    return config.layout == "PerHost" or config.slot == FIRST_SLOT
