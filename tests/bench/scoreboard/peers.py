"""The usual drift detectors on the reward worlds, each tuned on quiet normal rewards to the same budget."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from river import drift
from scipy import stats

from detectors.arrays import F64
from tests.bench.scoreboard.alibi import beside
from tests.bench.scoreboard.scenario import BETWEEN, Scenario

Peer = Callable[
    [F64, F64, float], Iterator[int]
]  # baseline, live rewards, setting -> events seen at each alarm
TUNING, RUNS, QUIET, WARM = 40_000, 8, 20_000, 600
CHUNK = 100


def _river(make: Callable[[float], Any], baseline: F64, live: F64, setting: float) -> Iterator[int]:
    detector, spread = make(setting), float(baseline.std()) or 1.0
    for i, value in enumerate((np.concatenate([baseline[-1_000:], live]) - baseline.mean()) / spread):
        detector.update(float(value))
        if detector.drift_detected:
            detector = make(setting)
            if i >= 1_000:
                yield i - 999


def _adwin(delta: float) -> Any:
    return drift.ADWIN(delta=delta, clock=1)  # type: ignore[no-untyped-call]


def _page_hinkley(threshold: float) -> Any:
    return drift.PageHinkley(min_instances=30, delta=0.1, threshold=threshold, alpha=1.0, mode="down")


def _kswin(alpha: float) -> Any:
    return drift.KSWIN(alpha=alpha, window_size=200, stat_size=60, seed=1)


def _two_sigma(baseline: F64, live: F64, sigma: float) -> Iterator[int]:
    """Means of 100 successive rewards (blocks), below the baseline's mean by so many standard errors."""
    blocks = live[: len(live) // 100 * 100].reshape(-1, 100).mean(axis=1)
    low = baseline.mean() - sigma * baseline.std() / 10
    yield from ((int(i) + 1) * 100 for i in np.flatnonzero(blocks < low))


def _chunk_means(baseline: F64, live: F64, sigma: float) -> Iterator[int]:
    """NannyML's default: the mean of a chunk outside mean +- so many standard deviations of the reference's chunks."""
    usual, chunks = (x[: len(x) // CHUNK * CHUNK].reshape(-1, CHUNK).mean(axis=1) for x in (baseline, live))
    far = np.abs(chunks - usual.mean()) > sigma * usual.std()
    yield from ((int(i) + 1) * CHUNK for i in np.flatnonzero(far))


def _chunk_laws(baseline: F64, live: F64, level: float) -> Iterator[int]:
    """Evidently's default for small columns: two-sample Kolmogorov-Smirnov of a chunk against the whole reference."""
    for i in range(len(live) // CHUNK):
        found = stats.ks_2samp(live[i * CHUNK : (i + 1) * CHUNK], baseline, method="asymp")
        if found.pvalue < level:
            yield (i + 1) * CHUNK


PEERS: dict[str, tuple[Callable[[F64, F64, float], Iterator[int]], Sequence[float]]] = {
    # settings from the most to the least easily alarmed
    "river ADWIN": (lambda b, x, s: _river(_adwin, b, x, s), (0.2, 0.05, 0.01, 0.002, 5e-4)),
    "river Page-Hinkley": (lambda b, x, s: _river(_page_hinkley, b, x, s), (15.0, 20.0, 25.0, 30.0, 40.0)),
    "river KSWIN": (lambda b, x, s: _river(_kswin, b, x, s), (1e-6,)),
    "naive 2 sigma, blocks of 100": (_two_sigma, (2.0,)),
    "the same at the budget's sigma": (_two_sigma, (2.33, 2.6)),
    "NannyML-style chunks of 100": (_chunk_means, (2.0, 2.33, 2.6, 2.8, 3.0, 3.5)),
    "evidently-style chunks of 100": (_chunk_laws, (0.05, 0.01, 5e-3, 2e-3)),
}


def compared(seed: int, scenarios: Sequence[Scenario]) -> str:
    """Tables of realised false signals and delays for each reward world of these; alibi-detect's for states too."""
    worlds = [s for s in scenarios if s.rule == "reward"]
    paid = QUIET / BETWEEN
    said = f"False signals in {QUIET:,} quiet events ({paid:.0f} paid for) / mean delay in {RUNS} changes (misses)."
    head = ["| scenario | " + " | ".join(PEERS) + " |", "|---" * (len(PEERS) + 1) + "|"]
    lines = ["## Peers on the reward worlds", "", said, "", *head]
    settings = {name: _tuned(peer, choice, seed) for name, (peer, choice) in PEERS.items()}
    for world in worlds:
        found = [_one(world, PEERS[name][0], settings[name], seed) for name in PEERS]
        lines.append(f"| {world.name} | " + " | ".join(found) + " |")
    alibi = beside([s for s in scenarios if s.rule in ("reward", "state")], seed)
    return "\n".join([*(lines if worlds else []), "", alibi])


def _tuned(peer: Peer, settings: Sequence[float], seed: int) -> float:
    """The first setting that keeps the budget on quiet normal rewards, else the last (KSWIN is too slow to tune)."""
    rng = np.random.default_rng(seed)
    for setting in settings[:-1]:
        alarms = sum(1 for _ in peer(rng.standard_normal(5_000), rng.standard_normal(TUNING), setting))
        if alarms <= TUNING / BETWEEN:
            return setting
    return settings[-1]


def _one(world: Scenario, peer: Peer, setting: float, seed: int) -> str:
    rng = np.random.default_rng([seed, *world.name.encode()])
    alarms = sum(1 for _ in peer(_rewards(world, rng, 5_000), _rewards(world, rng, QUIET), setting))
    delays = []
    for _ in range(RUNS):
        reward = world.world(rng, WARM + world.longest, WARM).reward
        assert reward is not None
        after = [seen - WARM for seen in peer(_rewards(world, rng, 5_000), reward, setting) if seen > WARM]
        delays += after[:1]
    mean = f"{np.mean(delays):.0f}" if delays else "-"
    return f"{alarms} / {mean} ({RUNS - len(delays)})"


def _rewards(world: Scenario, rng: np.random.Generator, n: int) -> F64:
    reward = world.world(rng, n, n).reward
    assert reward is not None
    return reward
