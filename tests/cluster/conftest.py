"""The replica that most of these cases are about; a module that needs another one has a fixture of its own."""

from tests.support.house import house

__all__ = ["house"]
