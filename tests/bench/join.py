"""The join at scale: memory, joined rewards per second, restart and expiry with millions of decisions pending.

python -m tests.bench.join [--pending 10_000_000] [--tick 10_000] [--combine sum]
"""

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from monitor.batch import RewardBatch
from monitor.joins.join import JoinTable, NewDecisions
from monitor.joins.spill import SpillFolder


def resident_mb() -> float:
    """Resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def decisions(rng: np.random.Generator, start_ms: int, n: int, per_ms: int, full: bool) -> NewDecisions:
    """n decisions in order of time."""
    ts_ms = start_ms + np.arange(n) // per_ms
    none = np.zeros(n, np.uint64)
    ids = rng.integers(1, 2**64, n, dtype=np.uint64)
    ids = ids[np.lexsort((ids, ts_ms))]  # canonical, as the core hands them over
    return NewDecisions(
        ids, ts_ms, ts_ms // 10_000 * 10_000, rng.integers(0, 4, n).astype(np.int32), rng.normal(size=n),
        rng.integers(0, 20, n).astype(np.int32), ids % np.uint64(99_991) if full else none, ids if full else none,
        np.arange(n) if full else np.full(n, -1), none,
    )  # fmt: skip


def rewards(rng: np.random.Generator, ids: NewDecisions, ts_ms: int) -> RewardBatch:
    """One reward for each decision."""
    n = len(ids)
    return RewardBatch(
        np.arange(n),
        np.full(n, ts_ms),
        np.sort(ids.id),
        rng.normal(size=n),
        np.full(n, np.nan),
        np.zeros(n, np.uint8),
    )


def ticks(total: int, size: int) -> Iterator[int]:
    """Sizes of the ticks that make up the total."""
    for start in range(0, total, size):
        yield min(size, total - start)


def main() -> None:
    """Prints one line per measurement; seconds are CPU seconds of this process."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pending", type=int, default=10_000_000)
    options.add_argument("--tick", type=int, default=10_000)
    options.add_argument("--combine", default="sum", choices=["sum", "mean", "last"])
    options.add_argument("--spill", type=Path, help="folder of scratch files")
    options.add_argument("--cap-mb", type=int, default=200, help="memory of columns before they spill")
    options.add_argument("--full", action="store_true", help="unit, episode and step too")
    args = options.parse_args()
    rng, per_ms = np.random.default_rng(1), 10
    horizon_ms = args.pending // per_ms
    before_mb = resident_mb()
    spill = SpillFolder(args.spill, args.cap_mb * 1_000_000) if args.spill else None
    table = JoinTable(horizon_ms, args.combine, spill)

    now, slowest, spent = 0, 0.0, 0.0
    kept: list[NewDecisions] = []  # every tenth tick, to be rewarded
    for number, n in enumerate(ticks(args.pending, args.tick)):
        new = decisions(rng, now, n, per_ms, args.full)
        started = time.process_time()
        assert table.insert(new).all()
        took = time.process_time() - started
        spent, slowest, now = spent + took, max(slowest, took), now + n // per_ms
        if number % 10 == 0:
            kept.append(new)
    print(
        f"filled {len(table):,}: {len(table) / spent:,.0f} decisions/s, slowest tick {slowest * 1e3:.0f} ms"
    )
    held = sum(column.nbytes for one in kept for column in (one.id, one.ts_ms, one.bucket_ms, one.key, one.value,
               one.action, one.unit, one.episode, one.step)) / 1e6  # fmt: skip
    print(f"resident +{resident_mb() - before_mb - held:,.0f} MB, counted {table.nbytes / 1e6:,.0f} MB")

    spent, joined = 0.0, 0
    for new in kept:
        batch = rewards(rng, new, now)
        started = time.process_time()
        settled = table.settle(batch)
        spent, joined = spent + time.process_time() - started, joined + len(settled)
    print(f"joined {joined:,} at {len(table):,} pending: {joined / spent:,.0f} rewards/s")
    del kept

    everything, spent, slowest = 0, 0.0, 0.0
    queue: list[NewDecisions] = []
    first = 0.0
    for number, n in enumerate(ticks(2 * args.pending, args.tick)):
        new = decisions(rng, now, n, per_ms, args.full)
        queue.append(new)
        paid = rewards(rng, queue.pop(0), now + n // per_ms) if len(queue) > 50 else None
        started = time.process_time()
        table.expire(now - horizon_ms)
        table.insert(new)
        if paid is not None:
            table.settle(paid)
        took = time.process_time() - started
        spent, slowest, everything, now = spent + took, max(slowest, took), everything + n, now + n // per_ms
        if number == args.pending // args.tick // 5:
            first = spent / everything
    print(
        f"steady: insert, settle, expire {everything:,}: {spent / everything * 1e6:.2f} us a decision with its reward "
        f"(first tenth {first * 1e6:.2f}), slowest tick {slowest * 1e3:.0f} ms"
    )
    print(
        f"resident +{resident_mb() - before_mb:,.0f} MB, counted {table.nbytes / 1e6:,.0f} MB, {len(table):,} held"
    )

    started = time.process_time()
    arrays = table.arrays()
    saved = time.process_time() - started
    del table
    restored = JoinTable(horizon_ms, args.combine)
    started = time.process_time()
    restored.restore(arrays)
    size = sum(array.nbytes for array in arrays.values()) / 1e6
    took = time.process_time() - started
    print(f"arrays {saved:.2f} s ({size:,.0f} MB), restore {took:.2f} s, {len(restored):,} pending")
    started = time.process_time()
    gone = restored.expire(now + 1)
    print(f"expired {len(gone):,} at once: {time.process_time() - started:.2f} s, {len(restored):,} left")
    print(f"peak resident {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB")


if __name__ == "__main__":
    main()
