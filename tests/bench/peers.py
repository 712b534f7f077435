"""Peers on the same kind of rows, 32 features, one core: what one statistic of theirs costs. Only with PEERS=1.

Batch tests look at windows of 1,000 rows, as a monitor would call them; streams take one value after the other.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np
from scipy import stats

from tests.bench.table import Row, cpu_of
from tests.bench.world import Traffic, baseline_of, world

FEATURES, WINDOW = 32, 1_000
OURS = 200_000


def rows() -> Iterator[Row]:
    """Rows per CPU second of each, and how many of them our core does with all of its statistics."""
    traffic = Traffic(FEATURES)
    one = world(traffic, baseline_of(traffic))
    one.run(OURS)
    ours = OURS / 2 / one.cpu_s  # rows are decisions; their rewards are counted in
    yield Row(f"policywatch core, all statistics, d = {FEATURES}", "1", f"{ours:,.0f} rows/s")
    for name, measured in PEERS.items():
        rate = measured(np.random.default_rng(1))
        yield Row(name, f"{ours / rate:,.1f} times slower than ours", f"{rate:,.0f} rows/s")
    for package in ("alibi_detect", "evidently", "frouros", "nannyml"):
        if find_spec(package) is None:
            yield Row(package, "", "not installed here")


def _kolmogorov_smirnov(rng: np.random.Generator) -> float:
    reference, new = rng.normal(size=(5_000, FEATURES)), rng.normal(size=(20 * WINDOW, FEATURES))

    def look() -> None:
        for start in range(0, len(new), WINDOW):
            for j in range(FEATURES):
                stats.ks_2samp(reference[:, j], new[start : start + WINDOW, j], method="asymp")

    return len(new) / cpu_of(look)


def _stream(make: Callable[[], object], n: int) -> Callable[[np.random.Generator], float]:
    """One detector per feature, updated with every row."""

    def measured(rng: np.random.Generator) -> float:
        detectors, values = [make() for _ in range(FEATURES)], rng.normal(size=(n, FEATURES)).tolist()

        def feed() -> None:
            for row in values:
                for detector, value in zip(detectors, row, strict=True):
                    detector.update(value)  # type: ignore[attr-defined]

        return n / cpu_of(feed)

    return measured


def _river(name: str) -> Callable[[], object]:
    def make() -> object:
        from river import drift

        return getattr(drift, name)(**({"seed": 1} if name == "KSWIN" else {}))

    return make


PEERS: dict[str, Callable[[np.random.Generator], float]] = {
    "scipy ks_2samp per feature": _kolmogorov_smirnov,
    "river KSWIN per feature": _stream(_river("KSWIN"), 300),
    "river ADWIN per feature": _stream(_river("ADWIN"), 5_000),
    "river PageHinkley per feature": _stream(_river("PageHinkley"), 5_000),
}
