"""Where a command prints: files or standard output, and progress only on a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def opened(path: str | None, default: BinaryIO | None) -> Iterator[BinaryIO | None]:
    """The file at `path` (`-`: standard output), the default where there is no path."""
    if path is None:
        yield default
    elif path == "-":
        yield sys.stdout.buffer
    else:
        with Path(path).open("wb") as file:
            yield file


class Progress:
    """A counter that rewrites its line on a terminal and is silent everywhere else."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()
        self._next = 0

    def __call__(self, count: int) -> None:
        if self._shown and count >= self._next:
            self._next = count + 50_000
            print(f"\r{count:,} {self._what}", end="", file=sys.stderr, flush=True)

    def done(self) -> None:
        """Leave the line."""
        if self._shown and self._next:
            print(file=sys.stderr)
