"""The mean reward of a window against the baseline's: at equal ages, with its noise, as a four-way verdict."""

from dataclasses import dataclass, fields
from functools import cached_property
from math import nan, sqrt

import numpy as np

from detectors.arrays import F64, Bool
from detectors.inference.long_run import student_line
from detectors.measurement import Measurement, Verdict, unknown
from detectors.protocol import Plan, Window
from detectors.rewards.delay import bins_seen, within
from detectors.rewards.reference import RewardReference

_LATE_SHARE = 0.9  # fewer of the expected rewards than this, beyond chance, are late
_LATE_DEPTH = 4.0
_COMPLETE = 0.98  # of the rewards that will ever come
_LOWEST_MATURITY = 0.2


@dataclass(frozen=True)
class _Ages:
    """(buckets,) columns of a window. shortfall: reward minus what as many rewards of this age were worth."""

    youngest_ms: F64
    decisions: F64
    joined: F64
    rewards: F64
    expected: F64
    share: F64
    shortfall: F64

    @cached_property
    def all_decisions(self) -> float:
        """Of the window."""
        return float(self.decisions.sum())

    @cached_property
    def all_joined(self) -> float:
        """Rewards of the window."""
        return float(self.joined.sum())

    @cached_property
    def all_expected(self) -> float:
        """Rewards that should have come."""
        return float(self.expected.sum())

    def only(self, chosen: Bool) -> "_Ages":
        return _Ages(**{column.name: getattr(self, column.name)[chosen] for column in fields(self)})


def armed(name: str, reference: RewardReference | str, window: Window, plan: Plan) -> tuple[Measurement, ...]:
    """The mean against its line, the share of decisions that have their reward, and whether rewards are late."""
    n, (joined, rewards, _) = int(window.total.decisions[0]), window.total.moments[:, 0]
    value = rewards / joined if joined > 0 else nan
    join_rate = Measurement(name, "join_rate", "", joined / n, n, Verdict.OK)
    if isinstance(reference, str):
        return unknown(name, "mean", int(joined), reference, value=value), join_rate
    ages = _ages(reference, window, plan)
    late = _late(name, reference, ages)
    return _mean(name, reference, ages, late, plan), late, join_rate, _maturity(name, reference, ages)


def _ages(reference: RewardReference, window: Window, plan: Plan) -> _Ages:
    """Only what every decision of a bucket had time for is counted, so that like is compared with like."""
    youngest = window.now_ms - np.asarray(window.starts_ms, dtype=np.float64) - plan.bucket_ms
    seen = bins_seen(reference.curve.edges_ms, youngest, plan.bucket_ms)
    decisions, delay = window.series("decisions")[:, 0], window.series("delay")
    joined, rewards = within(delay[:, 0], seen), within(delay[:, 1], seen)
    share, mean = reference.at_age(seen)
    share = reference.arriving(share, seen, window.starts_ms, plan.bucket_ms)
    return _Ages(youngest, decisions, joined, rewards, decisions * share, share, rewards - joined * mean)


def _mean(name: str, reference: RewardReference, ages: _Ages, late: Measurement, plan: Plan) -> Measurement:
    """Decides which unknown it is, or compares."""
    joined, n = int(ages.all_joined), int(ages.all_decisions)
    maturity = _share_of_final(reference, ages)
    if not np.isfinite(ages.rewards).all():
        return unknown(name, "mean", joined, "the sum of the rewards is not a finite number")
    if late.verdict is Verdict.BREACH:
        return _despite_late(name, reference, ages, late, plan)
    if maturity < _LOWEST_MATURITY and joined < 10 * plan.min_samples:
        share = f"{maturity:.0%} of the rewards of {n} decisions can be known yet"
        return unknown(name, "mean", joined, f"too early to tell: {share}, {joined} are")
    return _compare(name, reference, ages, plan)


def _despite_late(
    name: str, reference: RewardReference, ages: _Ages, late: Measurement, plan: Plan
) -> Measurement:
    """Late rewards decide nothing, except where decisions that have all theirs are below the line by themselves.

    Fewer early rewards may also mean fewer of the fast (often good) ones: then the old decisions are complete.
    """
    complete = ages.only(ages.share >= _COMPLETE * reference.curve.share[-1])
    if complete.joined.sum() < _COMPLETE * complete.expected.sum():
        complete = ages.only(ages.youngest_ms >= reference.curve.edges_ms[-1])
    verdict = _compare(name, reference, complete, plan)
    if verdict.verdict is Verdict.BREACH:
        return verdict
    return unknown(name, "mean", int(ages.all_joined), late.reason, value=_corrected(reference, ages))


def _compare(name: str, reference: RewardReference, ages: _Ages, plan: Plan) -> Measurement:
    joined = ages.all_joined
    if joined < plan.min_samples:
        few = f"{joined:.0f} rewards in the window, {plan.min_samples} needed"
        return unknown(name, "mean", int(joined), few, value=_corrected(reference, ages))
    value, error = _corrected(reference, ages), sqrt(float(reference.sum_variance(joined))) / joined
    line = student_line(plan.sigma, reference.noise.dof) * error
    if plan.sigma_of == "decision":
        line = plan.sigma * sqrt(reference.single)
    robust = reference.clipped(ages.shortfall, ages.joined)
    below = value < reference.mean - line and robust.sum() / joined < -line
    reason = (
        f"the mean reward is {value:.4g}, in the baseline {reference.mean:.4g}: "
        f"{(reference.mean - value) / error if error > 0 else nan:.1f} standard deviations of such means lower, "
        f"the line is at {reference.mean - line:.4g} ({joined:.0f} rewards)"
    )
    return Measurement(
        name, "mean", "", value, int(joined), Verdict.BREACH if below else Verdict.OK, reference.mean - line, error,
        severity=(reference.mean - value) / line if line > 0 else float(below),
        hold_buckets=reference.price.hold_at(_depth(reference, ages, robust, plan)) if below else 0, reason=reason,
    )  # fmt: skip


def _corrected(reference: RewardReference, ages: _Ages) -> float:
    """The baseline's mean plus the mean difference to rewards of the same ages; NaN without rewards."""
    joined = ages.all_joined
    return reference.mean + float(ages.shortfall.sum()) / joined if joined > 0 else nan


def _depth(reference: RewardReference, ages: _Ages, robust: F64, plan: Plan) -> float:
    """The deepest of the window and its recent parts."""
    scales = np.array(reference.price.scales)
    recent = ages.youngest_ms[None, :] < scales[:, None] * plan.bucket_ms
    return float(reference.depth(recent @ robust, recent @ ages.joined))


def _late(name: str, reference: RewardReference, ages: _Ages) -> Measurement:
    """The rewards that arrived over those that the baseline's delays say should have."""
    expected, joined = ages.all_expected, ages.all_joined
    if expected < 1:
        return unknown(name, "arrived_share", int(joined), f"{expected:.1f} rewards expected by now")
    chance = float(np.sum(ages.expected * (1 - ages.share))) * reference.count_dispersion
    chance += expected**2 / reference.joined
    depth = (expected - joined) / sqrt(chance + 1.0)
    late = joined < _LATE_SHARE * expected and depth > _LATE_DEPTH
    word = "missing" if late and _lost(reference, ages) else "late"
    reason = (
        f"rewards are {word}, not lower: {joined:.0f} arrived where {expected:.0f} were due" if late else ""
    )
    verdict = Verdict.BREACH if late else Verdict.OK
    return Measurement(
        name, "arrived_share", "", joined / expected, int(ages.all_decisions), verdict, _LATE_SHARE,
        sqrt(chance) / expected, reason=reason,
    )  # fmt: skip


def _lost(reference: RewardReference, ages: _Ages) -> bool:
    """Whether decisions whose horizon has passed lack rewards too."""
    matured = ages.youngest_ms >= reference.curve.edges_ms[-1]
    lost = float(ages.joined[matured].sum()) < _LATE_SHARE * float(ages.expected[matured].sum())
    return lost and bool(matured.any())


def _maturity(name: str, reference: RewardReference, ages: _Ages) -> Measurement:
    n = int(ages.all_decisions)
    return Measurement(name, "maturity", "", _share_of_final(reference, ages), n, Verdict.OK)


def _share_of_final(reference: RewardReference, ages: _Ages) -> float:
    """Rewards that can be known by now, as a share of all that will come."""
    final = ages.all_decisions * float(reference.curve.share[-1])
    return ages.all_expected / final if final > 0 else 0.0
