"""What a running daemon takes of the machine, read from outside."""

import os
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """at_s: since the soak began. lag: records not yet read. sent: by the feeder, as of its last word."""

    at_s: float
    rss_mb: float
    descriptors: int
    threads: int
    state_mb: float
    lag: int
    sent: int


def sample(pid: int, state: Path, at_s: float, lag: int, sent: int) -> Sample:
    """Linux only: from /proc."""
    proc = Path("/proc") / str(pid)
    resident = int((proc / "statm").read_text().split()[1]) * PAGE
    size = sum(path.stat().st_size for path in state.iterdir() if path.is_file())
    descriptors, threads = (len(list((proc / name).iterdir())) for name in ("fd", "task"))
    return Sample(at_s, resident / 2**20, descriptors, threads, size / 2**20, lag, sent)
