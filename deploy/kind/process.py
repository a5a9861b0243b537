"""Running other programs: always with a deadline, and stopped only after a check of who they are."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.kind.console import Problem

Argv = Sequence[str | Path]


class Failed(Problem):
    """A program ended with an error or not in time."""


def run(
    argv: Argv,
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program and return its standard output.

    Raises:
        Failed: with the end of its output, if it fails or is not done within ``timeout_s``.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True,
            text=True, timeout=timeout_s, env=env, cwd=cwd, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Failed(f"{words[0]} is not installed: python3 -m deploy.kind deps installs what is needed") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(words[:6])} was not done within {timeout_s:.0f} s") from error
    if done.returncode:
        tail = (done.stderr + done.stdout)[-3000:]
        raise Failed(f"{' '.join(words[:8])} failed with exit code {done.returncode}:\n{tail}")
    return done.stdout


def succeeds(argv: Argv, *, timeout_s: float, env: Mapping[str, str] | None = None) -> bool:
    """Whether the program is there and ends with exit code 0 in time."""
    try:
        run(argv, timeout_s=timeout_s, env=env)
    except Failed:
        return False
    return True


def run_logged(argv: Argv, log: Path, *, timeout_s: float, env: Mapping[str, str], cwd: Path | None = None) -> None:
    """Run a long program with its output in ``log``.

    Raises:
        Failed: with the end of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in argv]
    with log.open("wb") as out:
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=timeout_s, env=env, cwd=cwd,
                check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise Failed(f"{words[0]} is not installed") from error
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{words[0]} was not done within {timeout_s:.0f} s; its log is {log}") from error
    if done.returncode:
        tail = log.read_text(errors="replace")[-3000:]
        raise Failed(f"{words[0]} failed with exit code {done.returncode}; the end of {log}:\n{tail}")


def wait_for(what: str, probe: Callable[[], bool], *, timeout_s: float, every_s: float = 0.25) -> float:
    """Call ``probe`` until it returns true; a ``Failed`` inside counts as "not yet". Returns the seconds waited.

    Raises:
        Problem: if it has not come true within ``timeout_s``, with the last failure.
    """
    started = time.monotonic()
    last = ""
    while True:
        try:
            if probe():
                return time.monotonic() - started
        except Failed as error:
            last = f": {error}"
        if time.monotonic() - started > timeout_s:
            raise Problem(f"{what}: not within {timeout_s:.0f} s{last}")
        time.sleep(every_s)


@dataclass(frozen=True)
class ProcessRecord:
    """A process that we started, told apart from a later one with the same id.

    ``start_ticks`` is field 22 of ``/proc/PID/stat`` (clock ticks since boot, proc(5)); ``marker`` is a string
    that its command line holds.
    """

    pid: int
    start_ticks: int
    marker: str

    @classmethod
    def of(cls, pid: int, marker: str) -> "ProcessRecord":
        """Describe the running process ``pid``.

        A program that was started this instant has no command line yet: the kernel lets its parent go on before it
        has set one. It gets a second.
        """
        for _ in range(100):
            if marker in _command_line(pid) or _start_ticks(pid) is None:
                break
            time.sleep(0.01)
        return cls(pid, _start_ticks(pid) or 0, marker)

    def write(self, path: Path) -> None:
        """Keep the record in a file."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "ProcessRecord | None":
        """The record in ``path``, or None if there is none that can be read."""
        try:
            fields = json.loads(path.read_text())
            return cls(int(fields["pid"]), int(fields["start_ticks"]), str(fields["marker"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def alive(self) -> bool:
        """Whether that very process still runs."""
        if self.start_ticks == 0 or _start_ticks(self.pid) != self.start_ticks:
            return False
        return self.marker in _command_line(self.pid)

    def kill(self, number: signal.Signals) -> None:
        """Send a signal, if it is still the same process."""
        if self.alive():
            os.kill(self.pid, number)

    def child(self) -> int | None:
        """The id of its first child process, or None."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in parentheses may hold blanks and parentheses; what follows the last one is regular.
    fields = stat.rsplit(")", 1)[1].split()
    return None if fields[0] == "Z" else int(fields[19])


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
