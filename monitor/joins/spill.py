"""Columns beyond a memory cap lie in scratch files that the kernel pages in and out."""

import mmap
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SpillFolder:
    """Beyond `cap_bytes` of columns in memory, columns move to nameless files in `folder`.

    They are scratch, gone with the process: what must outlive it is in the checkpoint.
    """

    folder: Path
    cap_bytes: int

    def column(self) -> "ScratchColumn":
        """A new file for one column."""
        return ScratchColumn(self.folder)


class ScratchColumn:
    """One column in one file."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix="policywatch-")  # noqa: SIM115 (lives as long as the column)
        self._map: mmap.mmap | None = None

    def grown(self, column: NDArray[Any], n: int) -> NDArray[Any]:
        """The column with room for n rows; on the first call its rows are copied from memory."""
        os.posix_fallocate(
            self._file.fileno(), 0, n * column.itemsize
        )  # a full disk is an OSError here, SIGBUS later
        moved, self._map = self._map is not None, mmap.mmap(self._file.fileno(), n * column.itemsize)
        grown = np.frombuffer(self._map, column.dtype)
        if not moved:
            grown[: len(column)] = column
        return grown

    def release(self) -> None:
        """Takes the column's pages out of this process; they come back from the file when they are touched."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)
