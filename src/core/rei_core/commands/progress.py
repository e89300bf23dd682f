"""What long work tells a person meanwhile, on stderr: results go to stdout."""

from __future__ import annotations

import sys
import time

import click

from rei_core.maintenance.backups.dump import Progress

TERMINAL_PERIOD_SECONDS = 0.2
LOG_PERIOD_SECONDS = 15.0
MEBIBYTE = 1024 * 1024


class ProgressLine:
    """One line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._period = TERMINAL_PERIOD_SECONDS if self._terminal else LOG_PERIOD_SECONDS
        self._started = self._shown = time.monotonic()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._terminal:
            click.echo("\r\x1b[K", nl=False, err=True)

    def tell(self, text: str) -> None:
        """Say it, unless something was said just now."""
        now = time.monotonic()
        if now - self._shown < self._period:
            return
        self._shown = now
        if self._terminal:
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)
        else:
            click.echo(text, err=True)

    def tell_dump(self, done: str, progress: Progress) -> None:
        """Say how far a dump has been "dumped", "restored" or "verified"."""
        seconds = max(time.monotonic() - self._started, 0.001)
        speed = size(int(progress.dump_bytes / seconds))
        of = f" of about {size(progress.expected_bytes)}" if progress.expected_bytes else ""
        self.tell(
            f"{size(progress.dump_bytes)}{of} {done}, {speed}/s, "
            f"{size(progress.stored_bytes)} in the storage"
        )


def size(size_bytes: int) -> str:
    """Bytes as people read them."""
    if size_bytes < MEBIBYTE:
        return f"{size_bytes / 1024:.1f} KiB"
    return f"{size_bytes / MEBIBYTE:.1f} MiB"
