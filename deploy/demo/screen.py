"""Where the demo shows what it sees: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from deploy.demo.watch import Look, table

# Lines that are not on a terminal come only when something has changed, and not faster than this.
_PAUSE_S = 5.0


class Screen:
    """Shows looks, and tells what is done in between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._started = time.monotonic()
        self._caption = ""
        self._said_at = 0.0
        self._said: dict[str, str] = {}

    @property
    def elapsed_s(self) -> float:
        """Seconds since the screen was made."""
        return time.monotonic() - self._started

    @contextmanager
    def live(self) -> Iterator[None]:
        """Keep a table on the terminal while the block runs."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=4) as self._live:
            yield
        self._live = None

    def show(self, looks: list[Look]) -> None:
        """Show the newest looks."""
        if self._live is not None:
            self._live.update(table(looks, self.elapsed_s, self._caption))
        elif self.elapsed_s - self._said_at >= _PAUSE_S or any(
            one.phase not in self._said.get(one.name, "") for one in looks
        ):
            self._said_at = self.elapsed_s
            for one in looks:
                if self._said.get(one.name) != one.line():
                    self._said[one.name] = one.line()
                    self._console.print(
                        f"[{self.elapsed_s:5.0f} s] {one.line()}", highlight=False, markup=False, soft_wrap=True
                    )

    def tell(self, text: str) -> None:
        """Tell what is being done; it stays on the screen."""
        self._caption = text
        self._console.print(f"[{self.elapsed_s:5.0f} s] == {text}", highlight=False, markup=False, soft_wrap=True)
