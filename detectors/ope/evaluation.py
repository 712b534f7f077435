"""The answer to one question: what would this candidate have earned, and should that be believed?"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from detectors.ope.intervals.interval import Withheld
from detectors.ope.verdict import Comparison, Estimate, Verdict

Number = float | int | str | None


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """A cost under the candidate against its budget; refused where the upper bound exceeds it."""

    estimate: Estimate | Withheld
    budget: float | None
    refused: bool


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `policywatch evaluate --json` prints (DESIGN.md section 5), and the figures behind it.

    n: usable decisions or episodes. comparison: with the logging policy; more_data: how many more rows
    would settle it, None where none would or none is needed. primary: the estimate that was compared.
    bounds: finite-sample and anytime-valid bounds of the value, and the other approximate intervals of the
    primary estimate. tail: quantile and CVaR of single rewards, or of returns; tail_refused:
    the CVaR may lie below its floor. anytime: the comparison that holds however often it is asked for, for
    whoever acts on a stream.
    """

    candidate: str
    n: int
    verdict: Verdict
    comparison: Comparison
    reason: str
    primary: str
    estimates: Mapping[str, Estimate | Withheld]
    incumbent: Estimate | Withheld
    difference: Estimate | Withheld
    more_data: int | None
    diagnostics: Mapping[str, Number]
    costs: Mapping[str, CostEstimate] = field(default_factory=dict)
    bounds: Mapping[str, Estimate | Withheld] = field(default_factory=dict)
    tail: Mapping[str, Estimate | Withheld] = field(default_factory=dict)
    tail_refused: bool = False
    anytime: Comparison = Comparison.CANNOT_TELL

    @property
    def refused(self) -> bool:
        """Whether any cost may be over its budget, or the tail below its floor, as far as can be told."""
        return self.tail_refused or any(cost.refused for cost in self.costs.values())

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON: numbers, strings, None, dicts; what is not finite becomes None."""
        return {
            "candidate": self.candidate,
            "n": self.n,
            "verdict": str(self.verdict),
            "comparison": str(self.comparison),
            "anytime": str(self.anytime),
            "refused": self.refused,
            "reason": self.reason,
            "primary": self.primary,
            "estimates": {name: _plain(e) for name, e in self.estimates.items()},
            "incumbent": _plain(self.incumbent),
            "difference": _plain(self.difference),
            "more_data": self.more_data,
            "diagnostics": {name: _number(value) for name, value in self.diagnostics.items()},
            "costs": {
                name: {**_plain(cost.estimate), "budget": cost.budget, "refused": cost.refused}
                for name, cost in self.costs.items()
            },
            "bounds": {name: _plain(e) for name, e in self.bounds.items()},
            "tail": {name: _plain(e) for name, e in self.tail.items()},
        }


def _plain(estimate: Estimate | Withheld) -> dict[str, Number]:
    if isinstance(estimate, Withheld):
        return {"withheld": estimate.reason}
    return {
        "value": _number(estimate.value),
        "lower": _number(estimate.lower),
        "upper": _number(estimate.upper),
    }


def _number(value: Number) -> Number:
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    return value
