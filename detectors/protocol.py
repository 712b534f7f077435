"""The one protocol behind which every windowed statistic lives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from detectors.arrays import F64, Arrays
from detectors.measurement import Measurement
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic, stack


@dataclass(frozen=True, slots=True)
class Plan:
    """What a detector may rely on: the grid, the reward horizon and the price it may cost.

    false_per_day: false breaches per day that all armed statistics of this detector together may cost.
    labels: names of the action codes (index = code), in the baseline's order. features: names of state columns.
    """

    bucket_ms: int
    window_buckets: int
    horizon_ms: int
    false_per_day: float
    min_samples: int = 30
    sigma: float = 2.0
    sigma_of: str = "window"
    gamma: float = 0.0
    cost_budgets: dict[str, tuple[float, str]] = field(
        default_factory=dict
    )  # name -> (budget, "decision" | "episode")
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Window:
    """The buckets of one key inside the window, oldest first; empty buckets are absent.

    total: their sum. starts_ms: (len(buckets),) bucket starts. now_ms: end of the newest sealed bucket; a
    bucket's age is now_ms - start - bucket_ms. labels: names of the action codes seen so far. columns: field ->
    the buckets' values (buckets, ...), where they are at hand. segments: names of the segment codes seen so far.
    """

    total: Any
    buckets: Sequence[Any]
    starts_ms: Sequence[int]
    now_ms: int
    labels: Sequence[str] = ()
    columns: Mapping[str, F64] = field(default_factory=dict)
    segments: Sequence[str] = ()

    def series(self, name: str) -> F64:
        """(buckets, ...) one field of the buckets; not to be written to."""
        return self.columns[name] if name in self.columns else stack(self.buckets, [name])[name]


class Detector(Protocol):
    """Counts what happened in a bucket and says what a window of buckets means."""

    @property
    def name(self) -> str:
        """The registry's name."""

    def observe(self, rows: BucketRows) -> Statistic:
        """The sufficient statistic of new rows; additive over any split of the rows in canonical order."""

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """What the window says against the reference, unknown where it does not know."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A detector's own part of the baseline: what `fit` fixed, and its statistic per bucket of accepted data.

    schema: arrays fixed once (bin edges, frequencies, scales). series: `statistic.stack` of successive buckets,
    leading axis = bucket. starts_ms: (buckets,) their starts. bucket_ms: their width (coarser than the live
    bucket when the baseline is long). labels, segments: names of its action and segment codes.
    """

    schema: Arrays
    series: Arrays
    starts_ms: Sequence[int]
    bucket_ms: int
    labels: Sequence[str] = ()
    segments: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Rate:
    """A field of a statistic that is so much per event, so that its usual hour can be taken off.

    field[part] over count[of] (indices behind the bucket axis). cells: counts of events in cells, which stay
    counts. cumulated: along the last axis first. by_bucket: the detector reads it bucket by bucket.
    """

    field: str
    count: str
    part: tuple[Any, ...] = ()
    of: tuple[Any, ...] = (0,)
    cells: bool = False
    cumulated: bool = False
    by_bucket: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """One registry line: how to fix a detector's schema from a sample and how to build it.

    fit: from a bounded sample of accepted decisions to the schema. build: with a baseline whose series is empty
    the detector only counts (this is how a baseline is made); without any baseline it describes what it can and
    says unknown where it needs a reference. reads: the tables of BucketRows that it looks at. version: grows when the
    schema or the statistic changes its meaning, so that an old baseline is refused in words. rates: what has a season.
    by_action, by_segment: the fields of the statistic whose last axis is the action code, the segment code.
    judges: whether `measure` says anything; one that only counts needs no window. by_window: a baseline counts it by
    windows instead of buckets, and keeps some of them only. like: name of a detector whose schema its own adds to.
    """

    name: str
    fit: Callable[[Decisions, Plan], Arrays]
    build: Callable[[Baseline | None, Plan], Detector]
    statistic: type[Statistic]
    reads: frozenset[str] = frozenset({"decisions", "outcomes", "returns", "episodes", "metrics"})
    version: int = 1
    by_action: frozenset[str] = frozenset()
    by_segment: frozenset[str] = frozenset()
    rates: tuple[Rate, ...] = ()
    judges: bool = True
    by_window: bool = False
    like: str = ""
