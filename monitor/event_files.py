"""Files of events (`.jsonl`, `.jsonl.gz`, `-`) as blocks of lines; a file is a partition, offsets are line numbers."""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

STDIN = "-"
_READ_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
Text = BinaryIO | gzip.GzipFile


class EventFileError(Exception):
    """A file of events cannot be opened or read on; not worth a retry."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive lines of one file; offsets are their numbers, from 1."""

    partition: str
    offsets: range
    payloads: list[bytes]


def read_blocks(
    path: str, lines: int = 5_000, max_line_bytes: int = 1 << 20, after: int = 0
) -> Iterator[Block]:
    """The lines of a file in blocks of at most so many, those up to number `after` left out.

    A line longer than max_line_bytes comes cut to one byte more than that, so that the decoder rejects it as
    oversize; memory stays within a few times the larger of that and 1 MiB. The file may be compressed under any name.
    """
    partition = "stdin" if path == STDIN else path
    number = 0
    unpacker, damage = _unpacker()
    try:
        with _opened(path, unpacker) as text:
            for found in _line_groups(text, max_line_bytes):
                skipped = min(max(after - number, 0), len(found))
                for start in range(skipped, len(found), lines):
                    payloads = found[start : start + lines]
                    first = number + start + 1
                    yield Block(partition, range(first, first + len(payloads)), payloads)
                number += len(found)
    except (OSError, EOFError, damage) as error:
        raise EventFileError(f"{partition}: after line {number}: {_plain(error)}") from error


def _unpacker() -> tuple[type[gzip.GzipFile], type[Exception]]:
    """What unpacks gzip, and how it says that a file is damaged: ISA-L, where installed, takes half of the time."""
    try:
        from isal.igzip import IGzipFile  # noqa: PLC0415 - an extra
        from isal.isal_zlib import IsalError  # noqa: PLC0415
    except ImportError:
        return gzip.GzipFile, zlib.error
    return IGzipFile, cast(type[Exception], IsalError)  # its stub has an instance


def _plain(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


@contextmanager
def _opened(path: str, unpacker: type[gzip.GzipFile]) -> Iterator[Text]:
    """The file's text, unpacked if it begins like gzip."""
    with ExitStack() as stack:
        raw = (
            sys.stdin.buffer
            if path == STDIN
            else stack.enter_context(Path(path).open("rb", buffering=_READ_BYTES))
        )
        packed = isinstance(raw, io.BufferedReader) and raw.peek(2)[:2] == _GZIP_MAGIC
        yield stack.enter_context(unpacker(fileobj=raw)) if packed else raw


def _line_groups(text: Text, limit: int) -> Iterator[list[bytes]]:
    """The whole lines of each piece read; what is left over goes before the next piece."""
    rest = b""
    while piece := text.read(_READ_BYTES):
        head, newline, tail = piece.partition(b"\n")
        if not newline:
            rest = (rest + piece)[: limit + 1]
            continue
        found = [(rest + head)[: limit + 1], *tail.split(b"\n")]
        rest = found.pop()[: limit + 1]
        yield found
    if rest:
        yield [rest]
