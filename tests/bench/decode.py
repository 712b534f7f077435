"""Records decoded to columns per CPU second: `python -m tests.bench.decode`; ratios to the bare typed parse."""

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from monitor.batch import Kind
from monitor.decoding.decode import decode
from monitor.decoding.decode_settings import DecodeSettings, DeploymentSettings
from monitor.decoding.wire import reader
from monitor.vocabulary import Labels, Vocabulary
from tests.bench.table import Row

POLL = 5_000
ROUNDS = 20
START_MS = 1_767_225_600_000


def decisions(features: int, rng: random.Random) -> list[bytes]:
    """Decisions with a state, 20 actions, propensity, value and one cost."""
    return [
        msgspec.json.encode(
            {
                "decision_id": f"d{i:09d}",
                "deployment": "home",
                "policy": "v42",
                "ts": START_MS + i,
                "action": rng.randrange(20),
                "propensity": round(rng.uniform(0.01, 1.0), 4),
                "value": round(rng.gauss(0.0, 1.0), 3),
                "costs": {"complaint": float(rng.random() < 0.01)},
                "state": [round(rng.gauss(0.0, 1.0), 2) for _ in range(features)],
            }
        )
        for i in range(POLL)
    ]


def rewards(rng: random.Random) -> list[bytes]:
    """One plain reward each."""
    return [
        msgspec.json.encode(
            {"decision_id": f"d{i:09d}", "ts": START_MS + i, "reward": round(rng.random(), 3)}
        )
        for i in range(POLL)
    ]


def per_second(work: Callable[[], object]) -> float:
    """Records per CPU second, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return POLL / best


def row(name: str, payloads: Sequence[bytes], kind: Kind) -> Row:
    """Full decode, bare parse, their ratio, and the decode with the collector's thresholds raised."""
    settings = DecodeSettings({"home": DeploymentSettings()})
    vocabulary = Vocabulary(Labels(100))
    offsets = range(len(payloads))
    read = reader(kind, {})

    def full() -> object:
        return decode("p", offsets, payloads, kind, vocabulary, settings)

    bare = per_second(lambda: list(map(read, payloads)))
    whole = per_second(full)
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    relaxed = per_second(full)
    gc.set_threshold(*thresholds)
    size = sum(map(len, payloads)) / len(payloads)
    number = (
        f"{whole:,.0f}/s ({size:.0f} bytes each); parse {bare:,.0f}/s; "
        f"with rarer garbage collection {relaxed:,.0f}/s"
    )
    return Row(name, f"{whole / bare:.2f} of the bare typed parse", number)


def rows() -> Iterator[Row]:
    """Records per CPU second."""
    rng = random.Random(20260101)
    yield row("rewards", rewards(rng), Kind.REWARD)
    for features in (8, 32, 128):
        yield row(f"decisions, {features} features", decisions(features, rng), Kind.DECISION)


def main() -> None:
    """Prints the table."""
    for one in rows():
        print(f"{one.what:24s} {one.ratio}: {one.number}")


if __name__ == "__main__":
    main()
