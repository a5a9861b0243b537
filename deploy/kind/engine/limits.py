"""The one kernel setting that several nodes on one machine need raised, and the way back.

A kubelet holds about a dozen inotify instances, and the kernel's default allows a user 128 in all
(``fs.inotify.max_user_instances``, inotify(7)); two clusters of three nodes are past that, and a kubelet without one
ends. The former value is kept where a reboot, which resets the setting too, forgets it.
"""

from pathlib import Path

from deploy.kind.console import say
from deploy.kind.digests import locked

_SETTING = Path("/proc/sys/fs/inotify/max_user_instances")
_FORMER = Path("/run/holdfast-inotify-max-user-instances")
_LOCK = Path("/run/holdfast-inotify.lock")
_LINKS = Path("/sys/class/net")
ENOUGH = 1024


def raise_inotify(setting: Path = _SETTING, former: Path = _FORMER, lock: Path = _LOCK) -> None:
    """Allow at least `ENOUGH` inotify instances, noting the former value unless another engine has."""
    with locked(lock):
        current = int(setting.read_text())
        if current >= ENOUGH:
            return
        if not former.exists():
            former.write_text(str(current))
        setting.write_text(str(ENOUGH))
        say(f"fs.inotify.max_user_instances: {current} raised to {ENOUGH} while the engine runs")


def restore_inotify(setting: Path = _SETTING, former: Path = _FORMER, lock: Path = _LOCK, links: Path = _LINKS) -> None:
    """Put the former value back, unless another user's engine (known by its link) still needs it."""
    with locked(lock):
        if former.exists() and not any(links.glob("hf??????h")):
            setting.write_text(former.read_text())
            former.unlink()
    if not former.exists():
        lock.unlink(missing_ok=True)
