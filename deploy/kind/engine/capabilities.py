"""Which of the capabilities that runc asks for root does not have here."""

from pathlib import Path

# Bit numbers of linux/capability.h; the one that some virtual machines withhold and the recipe was tried with.
_NEEDED = {"CAP_SYS_RESOURCE": 24}


def lacking(status: str | None = None) -> list[str]:
    """Capabilities outside this process's bounding set. ``status`` is the text of /proc/self/status."""
    text = status if status is not None else Path("/proc/self/status").read_text()
    for line in text.splitlines():
        if line.startswith("CapBnd:"):
            bounding = int(line.split()[1], 16)
            return [name for name, bit in _NEEDED.items() if not bounding >> bit & 1]
    return []
