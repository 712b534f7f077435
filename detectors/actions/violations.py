"""How often a masked or un-enveloped action was executed. Described only: the event itself is decided at once."""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64, Arrays
from detectors.measurement import Culprit, Measurement
from detectors.protocol import Baseline, Plan, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic
from detectors.windows.mean_shift import described

NAME = "violations"
MASKED, OUTSIDE_ENVELOPE = 1, 2  # of Decisions.violation
KINDS = {"masked": MASKED, "outside_envelope": OUTSIDE_ENVELOPE}
MAX_ACTIONS = 4096
_CULPRITS = 5


@dataclass(frozen=True, slots=True)
class ViolationCounts(Statistic):
    """counts: (3,) decisions, masked, outside the envelope. by_action: (2, actions) the latter two per action."""

    counts: F64
    by_action: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """Nothing is fixed."""
    return {}


@dataclass(frozen=True, slots=True)
class ViolationsDetector:
    """Counts and rates per kind of violation."""

    @property
    def name(self) -> str:
        """The registry's name."""
        return NAME

    def observe(self, rows: BucketRows) -> ViolationCounts:
        """Continuous actions count in the total only."""
        violation, action = rows.decisions.violation, rows.decisions.action
        broken = [violation == kind for kind in KINDS.values()]
        named = (action >= 0) & (action < MAX_ACTIONS) & (violation > 0)
        width = int(action[named].max(initial=-1)) + 1
        by_action = [np.bincount(action[named & kind], minlength=width) for kind in broken]
        counts = [len(violation), *(kind.sum() for kind in broken)]
        return ViolationCounts(np.array(counts, np.float64), np.stack(by_action).astype(np.float64))

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """Share of decisions that broke each kind of constraint."""
        n = float(window.total.counts[0])
        return tuple(
            described(
                NAME, kind, float(window.total.counts[row]) / n if n else 0.0, round(n),
                f"{round(float(window.total.counts[row]))} of {round(n)} actions",
                culprits=_culprits(window.total.by_action[row - 1], window.labels),
            )
            for row, kind in enumerate(KINDS, start=1)
        )  # fmt: skip


def build(baseline: Baseline | None, plan: Plan) -> ViolationsDetector:
    """No reference is needed."""
    return ViolationsDetector()


def _culprits(counts: F64, labels: object) -> tuple[Culprit, ...]:
    names = list(labels) if isinstance(labels, (list, tuple)) else []
    order = np.argsort(-counts, kind="stable")[:_CULPRITS].tolist()
    total = float(counts.sum())
    return tuple(
        Culprit(names[code] if code < len(names) else str(code), float(counts[code]) / total)
        for code in order
        if counts[code] > 0
    )


VIOLATIONS = Spec(
    NAME, fit, build, ViolationCounts, reads=frozenset({"decisions"}), by_action=frozenset({"by_action"})
)
