"""The sequential tests of one deployment: every bucket folded once per key, at the age at which it can be judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from alerts.rules import DETECTORS, SEQUENTIAL, armed, share_of
from detectors.actions.mix import NAME as ACTION_MIX
from detectors.arrays import F64
from detectors.critic import critic
from detectors.critic import groups as critic_groups
from detectors.features import moments as state_moments
from detectors.features.bins import feature_names
from detectors.measurement import Measurement, Verdict
from detectors.protocol import Baseline, Plan
from detectors.rewards import reward
from detectors.sequential.charted import Test
from detectors.sequential.means import critic_test, reward_test
from detectors.sequential.overestimation import over_test
from detectors.sequential.vectors import action_test, state_test
from monitor.config import DeploymentConfig
from monitor.judging.plans import plan_for, shares_of, with_options
from monitor.judging.seasons import OffSeason
from monitor.judging.windows import Windows

DAY_MS = 86_400_000


@dataclass(slots=True)
class SequentialTests:
    """tests: those that the baseline gives. states: (key, statistic) -> what the test remembers."""

    tests: Sequence[Test]
    bucket_ms: int
    season: OffSeason = field(default_factory=OffSeason)
    states: dict[tuple[int, str], F64] = field(default_factory=dict)

    def at_seal(
        self,
        key: int,
        windows: Windows,
        end_ms: int,
        labels: Sequence[str],
        measured: Sequence[Measurement],
        segments: Sequence[str] = (),
    ) -> list[Measurement]:
        """Fold the bucket that has just become old enough for each test, and say where the test stands."""
        late = any(m.statistic == "arrived_share" and m.verdict is Verdict.BREACH for m in measured)
        said = []
        for test in self.tests:
            if late and test.detector == reward.NAME:
                continue  # late rewards are no lower rewards
            start = (end_ms - test.lag_ms) // self.bucket_ms * self.bucket_ms - self.bucket_ms
            bucket = windows.buckets.get(key, {}).get(test.detector, {}).get(start)
            if bucket is not None:
                freed, names = self.season.bucket(test.detector, start, bucket), test.names(labels, segments)
                said += self._fold(test, key, freed, names, start)
        return said

    def forget(self, key: int) -> None:
        """A key that is gone."""
        for name in [name for name in self.states if name[0] == key]:
            del self.states[name]

    def restore(self, states: Mapping[tuple[int, str], F64]) -> None:
        """Go on from saved states; one of another shape (another baseline) begins anew."""
        sizes = {test.statistic: len(test.begin()) for test in self.tests}
        self.states = {name: state for name, state in states.items() if sizes.get(name[1]) == len(state)}

    def _fold(
        self, test: Test, key: int, bucket: Mapping[str, F64], labels: Sequence[str], start_ms: int
    ) -> list[Measurement]:
        before = self.states.get((key, test.statistic))
        state, events = test.fold(test.begin() if before is None else before, bucket, labels, start_ms)
        if not np.isfinite(state).all():  # sums that are no numbers tell nothing of their bucket
            return []
        said = [test.measurement(state, events)] if events else []
        # A chart that has rung begins anew (Page 1954): it rings again while the change lasts, and is quiet after it.
        rang = any(m.verdict is Verdict.BREACH for m in said)
        self.states[key, test.statistic] = test.begin() if rang else state
        return said


def sequential_tests(
    deployment: DeploymentConfig,
    parts: Mapping[str, Baseline],
    season: OffSeason | None = None,
    units: Mapping[str, Any] | None = None,
) -> SequentialTests:
    """Every test that the baseline's own series can calibrate, at its share of its rule's budget.

    units: options that say how far units which come back make means stray.
    """
    known = {name: part for name, part in parts.items() if name in RULES and len(part.starts_ms)}
    by_group = _over_tests(deployment, known, units or {})
    left = 1 - sum(test.share for test in by_group)
    found = [_test(deployment, name, known[name], units or {}, left) for name in WHOLE if name in known]
    return SequentialTests(
        [*(test for test in found if test is not None), *by_group],
        deployment.bucket_ms,
        season or OffSeason(),
    )


WHOLE = (reward.NAME, state_moments.NAME, ACTION_MIX, critic.NAME)  # one test each
RULES = {
    reward.NAME: "reward",
    state_moments.NAME: "state",
    ACTION_MIX: "actions",
    critic.NAME: "critic",
    critic_groups.NAME: "critic",
}
BY_GROUP = 0.15  # of the price of the critic's tests: over-estimation by action; the same by segment


def _over_tests(
    deployment: DeploymentConfig, parts: Mapping[str, Baseline], units: Mapping[str, Any]
) -> list[Test]:
    """Over-estimation by action and by segment, where the baseline tells groups apart."""
    priced = _priced(deployment, critic_groups.NAME)
    if priced is None or critic_groups.NAME not in parts:
        return []
    plan = with_options(plan_for(deployment, critic.NAME), units)
    lag_ms = deployment.reward_horizon_ms
    found = [
        over_test(parts[critic_groups.NAME], plan, priced * BY_GROUP, lag_ms, kind)
        for kind in critic_groups.FIELDS
    ]
    return [replace(test, share=BY_GROUP) for test in found if test is not None]


def _priced(deployment: DeploymentConfig, detector: str) -> float | None:
    """False alarms per bucket that the tests of a detector's rule may cost; None where it is not armed."""
    rule = RULES[detector]
    if rule not in armed(deployment.rules) or SEQUENTIAL not in DETECTORS[rule]:
        return None
    share = shares_of(deployment).get(rule, 0.0)
    return share * share_of(rule, SEQUENTIAL) * deployment.bucket_ms / DAY_MS


def _test(
    deployment: DeploymentConfig, detector: str, part: Baseline, units: Mapping[str, Any], left: float
) -> Test | None:
    """left: of the critic's price, once its groups have theirs."""
    per_bucket = _priced(deployment, detector)
    if per_bucket is None:
        return None
    plan = with_options(plan_for(deployment, detector), units)
    if detector == reward.NAME:
        return reward_test(part, plan, per_bucket)
    if detector == critic.NAME:
        test = critic_test(part, plan, per_bucket * left, deployment.reward_horizon_ms)
        return None if test is None else replace(test, share=left)
    if detector == ACTION_MIX:
        return action_test(part, plan, per_bucket)
    return state_test(part, plan, per_bucket, _features(part, plan))


def _features(part: Baseline, plan: Plan) -> Sequence[str]:
    return feature_names(plan, "state_features", "state", len(part.schema["center"]))
