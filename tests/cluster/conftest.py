"""What most of these cases are about: one replica, or several processes; others have a fixture in their module."""

from tests.support.house import house
from tests.support.processes import processes

__all__ = ["house", "processes"]
