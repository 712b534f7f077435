"""alibi-detect's online detectors on the reward and state worlds: MMD and LSDD over a sliding window, with torch.

Neither is a dependency; docs/dependencies.md says how they are installed where they are wanted.
"""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from detectors.arrays import F64
from tests.bench.scoreboard.scenario import Scenario

NEEDED = ("torch", "alibi_detect")
# thresholds are simulated by bootstrap, five for each event between alarms: the scoreboard's budget would take hours
BETWEEN, BOOTSTRAPS, WINDOW = 500, 2_500, 30
REFERENCE = 500  # rows: kernels between all of them are held in memory
QUIET, RUNS, WARM = 4_000, 4, 100
DETECTORS = {"online MMD": "MMDDriftOnline", "online LSDD": "LSDDDriftOnline"}


def beside(worlds: Sequence[Scenario], seed: int) -> str:
    """A table, or the one line that says what is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return (
            f"alibi-detect's online MMD and LSDD are skipped: {' and '.join(missing)} not installed"
            " (docs/dependencies.md).\n"
        )
    cd = import_module("alibi_detect.cd")
    made = {name: getattr(cd, kind) for name, kind in DETECTORS.items()}
    head = ["| scenario | " + " | ".join(made) + " |", "|---" * (len(made) + 1) + "|"]
    said = (
        f"References of {REFERENCE:,} rows, windows of {WINDOW}, set to one false alarm in {BETWEEN:,} events: false"
        f" signals in {QUIET:,} quiet events ({QUIET / BETWEEN:g} paid for) / mean delay in {RUNS} changes (misses)."
    )
    lines = ["## alibi-detect", "", said, "", *head]
    for world in worlds:
        found = [_one(world, make, seed) for make in made.values()]
        lines.append(f"| {world.name} | " + " | ".join(found) + " |")
    return "\n".join(lines) + "\n"


def _one(world: Scenario, make: Callable[..., Any], seed: int) -> str:
    rng = np.random.default_rng([seed, *world.name.encode()])
    import_module("torch").manual_seed(seed)
    detector = make(
        _rows(world, rng, REFERENCE, REFERENCE), float(BETWEEN), WINDOW, backend="pytorch",
        n_bootstraps=BOOTSTRAPS, verbose=False,
    )  # fmt: skip
    alarms = sum(1 for _ in _alarms(detector, _rows(world, rng, QUIET, QUIET)))
    delays = []
    for _ in range(RUNS):
        live = _alarms(detector, _rows(world, rng, WARM + world.longest, WARM))
        delays += [next((seen - WARM for seen in live if seen > WARM), None)]
    heard = [delay for delay in delays if delay is not None]
    mean = f"{np.mean(heard):.0f}" if heard else "-"
    return f"{alarms} / {mean} ({RUNS - len(heard)})"


def _alarms(detector: Any, live: F64) -> Iterator[int]:
    """Events seen at each alarm, after which it begins anew."""
    detector.reset_state()
    for i, row in enumerate(live):
        if detector.predict(row, return_test_stat=False)["data"]["is_drift"]:
            detector.reset_state()
            yield i + 1


def _rows(world: Scenario, rng: np.random.Generator, n: int, at: int) -> Any:
    """(n, d) what is watched, in the precision of torch."""
    events = world.world(rng, n, at)
    column = events.state if world.rule == "state" else events.reward
    assert column is not None
    return column.reshape(n, -1).astype(np.float32)
