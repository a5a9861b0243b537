"""What an engine leaves on the machine besides processes: cgroups and, sometimes, one folder."""

from pathlib import Path

from deploy.kind.process import wait_for

_CGROUPS = Path("/sys/fs/cgroup")
_MODULES = Path("/lib/modules")


def remove_cgroups(parent: str) -> None:
    """Remove the engine's cgroup and all below it, in every hierarchy, once the kernel has emptied them.

    Raises:
        Problem: if some process still sits in one after 10 s.
    """
    wait_for(f"cgroups below {parent} are gone", lambda: _swept(parent), timeout_s=10)


def _swept(parent: str) -> bool:
    left = False
    # cgroup v1 has one folder a hierarchy; v2 has the tree at the root itself.
    for root in [_CGROUPS / parent, *(one / parent for one in _CGROUPS.iterdir() if one.is_dir())]:
        if not root.is_dir():
            continue
        below = [path for path in root.rglob("*") if path.is_dir()]
        for folder in [*sorted(below, key=lambda path: len(path.parts), reverse=True), root]:
            try:
                folder.rmdir()
            except OSError:
                left = True
    return not left


def note_modules_folder(mark: Path) -> None:
    """Remember that /lib/modules is not there: dockerd makes it when kind asks for it as a volume."""
    if not _MODULES.exists():
        mark.touch()


def remove_modules_folder(mark: Path) -> None:
    """Remove /lib/modules again, if it was not there before and is empty."""
    if mark.exists():
        if _MODULES.is_dir() and not any(_MODULES.iterdir()):
            _MODULES.rmdir()
        mark.unlink()
