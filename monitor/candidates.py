"""The candidates of one deployment: a life beside each policy that ran, and how predictions came out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any

import numpy as np

from detectors.arrays import F64
from detectors.candidate_estimates import estimate, trust_of
from detectors.candidate_life import MOST_LIVES, Life, LifePlan, begin, fold
from detectors.candidate_verdicts import measurements, withdrawn
from detectors.candidates import NAME, sums_of
from detectors.evidence import inflation_of
from detectors.mean_shift import described
from detectors.measurement import Measurement
from detectors.ope import CoverageRecord, Estimate, Outcome, Verdict
from detectors.reward import REWARD
from monitor.frames import concat
from monitor.joining import STAGES, name_of
from monitor.joins.candidates import Matured, PendingCandidates
from monitor.vocabulary import Vocabulary
from monitor.windows import Windows

STAGE = "shadow"  # under which what is said of a candidate stands
LIVE = ("full", "canary")
EVERY = ("*", STAGE)
KEPT = 100  # outcomes kept and shown
GONE_AFTER_WINDOWS, FORGOTTEN_AFTER_WINDOWS = 2, 144

Name = tuple[str, str]  # policy, stage


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate that runs now: what was predicted, and its buckets (buckets, 3) of rewards since: n, sum, squares."""

    predicted: Estimate
    buckets: F64


@dataclass(slots=True)
class Candidates:
    """lives: (candidate, policy that ran, its stage) -> life. trials: candidate -> its first window live. left_out:
    buckets of lives that there was no room for.
    """

    plan: LifePlan
    pending: PendingCandidates
    bucket_ms: int
    window_ms: int
    horizon_ms: int
    lives: dict[tuple[str, str, str], Life] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    record: CoverageRecord = field(default_factory=CoverageRecord)
    left_out: int = 0

    def add(self, matured: Sequence[Matured], vocabulary: Vocabulary, end_ms: int) -> None:
        """Fold the decisions that have become final into the lives of the candidates that they name."""
        if matured:
            self._fold(concat(matured), vocabulary, end_ms)

    def at_seal(self, windows: Windows, vocabulary: Vocabulary, end_ms: int) -> dict[Name, list[Measurement]]:
        """Say where every candidate stands."""
        if not self.lives and not self.record.total:
            return {}
        self._try(windows, vocabulary, end_ms)
        oldest = end_ms - FORGOTTEN_AFTER_WINDOWS * self.window_ms
        self.lives = {name: life for name, life in self.lives.items() if life.seen_ms >= oldest}
        return self._said(end_ms)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "meaning": self._meaning(),
            "pending": self.pending.state(),
            "lives": self.lives,
            "trials": self.trials,
            "counts": [self.record.total, self.record.covered, self.left_out],
            "outcomes": list(self.record.outcomes),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; with other budgets or another range of rewards lives begin anew."""
        self.pending.restore(state["pending"])
        self.lives = state["lives"] if state["meaning"] == self._meaning() else {}
        self.trials = state["trials"]
        total, covered, self.left_out = state["counts"]
        self.record = CoverageRecord(total, covered, tuple(state["outcomes"]))

    def _meaning(self) -> list[Any]:
        """What the sums of a life are sums of."""
        return [list(self.plan.reward_range or ()), [list(budget) for budget in self.plan.budgets]]

    def _fold(self, table: Matured, vocabulary: Vocabulary, end_ms: int) -> None:
        for key in np.unique(table.key).tolist():
            policy, stage = name_of(key, vocabulary)
            if stage == STAGE:
                continue  # what a shadow chose was not done: its decisions have no rewards
            for candidate in table.candidates:
                rows = table.rows(candidate, key)
                if self.plan.missing_is_zero:
                    rows = replace(rows, reward=np.where(np.isnan(rows.reward), 0.0, rows.reward))
                if not np.isnan(rows.p).all():
                    bucket = sums_of(rows, self.plan.reward_range, self.plan.budgets)
                    self._grow((candidate, policy, stage), bucket, end_ms)

    def _grow(self, name: tuple[str, str, str], bucket: Any, end_ms: int) -> None:
        if name not in self.lives:
            if len(self.lives) >= MOST_LIVES:
                self.left_out += 1
                return
            self.lives[name] = begin(self.plan, end_ms)
        self.lives[name] = fold(self.lives[name], bucket, end_ms, self.plan)

    def _try(self, windows: Windows, vocabulary: Vocabulary, end_ms: int) -> None:
        """Follow candidates that run: their first full window of final rewards is set against what was predicted."""
        start = (end_ms - self.horizon_ms) // self.bucket_ms * self.bucket_ms - self.bucket_ms
        live = [vocabulary.stages.codes[stage] for stage in LIVE if stage in vocabulary.stages.codes]
        done = {outcome.candidate for outcome in self.record.outcomes}
        for candidate in sorted({name[0] for name in self.lives} - done | self.trials.keys()):
            earned, policy = np.zeros(3), vocabulary.policies.codes.get(candidate, -1)
            for stage in live if policy >= 0 else ():
                bucket = windows.buckets.get(policy * STAGES + stage, {}).get(REWARD.name, {}).get(start)
                if bucket is not None:
                    earned = earned + bucket.arrays()["moments"][:, 0]
            if earned[0] > 0 and (trial := self.trials.get(candidate) or self._trial(candidate)) is not None:
                self.trials[candidate] = replace(
                    trial, buckets=np.concatenate([trial.buckets, earned[None, :]])
                )
                self._conclude(candidate)

    def _trial(self, candidate: str) -> Trial | None:
        """What the longest life that could be believed had predicted."""
        lives = [life for name, life in sorted(self.lives.items()) if name[0] == candidate]
        lives = [life for life in lives if trust_of(life)[0] is Verdict.RELIABLE and self.plan.reward_range]
        best = max(lives, key=lambda life: float(life.total.moments[1]), default=None)
        predicted = None if best is None else estimate(best, self.plan)
        return None if predicted is None else Trial(predicted, np.zeros((0, 3)))

    def _conclude(self, candidate: str) -> None:
        trial = self.trials[candidate]
        count, total, square = trial.buckets.sum(axis=0)
        if len(trial.buckets) < self.plan.window_buckets or count < self.plan.min_samples:
            return
        del self.trials[candidate]
        mean = float(total / count)
        inflation = inflation_of(
            trial.buckets[:, 1], trial.buckets[:, 2], trial.buckets[:, 0], self.plan.window_buckets
        )
        error = sqrt(max(float(square / count) - mean**2, 0.0) / float(count) * inflation)
        record = self.record.add(Outcome(candidate, trial.predicted, self.plan.delta, mean, error))
        self.record = replace(record, outcomes=record.outcomes[-KEPT:])

    def _said(self, end_ms: int) -> dict[Name, list[Measurement]]:
        said: dict[Name, list[Measurement]] = {}
        gone_ms = end_ms - GONE_AFTER_WINDOWS * self.window_ms
        for (candidate, policy, stage), life in sorted(self.lives.items()):
            against = policy if stage == "full" else f"{policy} ({stage})"
            say = withdrawn if life.seen_ms < gone_ms else measurements
            said.setdefault((candidate, STAGE), []).extend(say(life, against, self.plan))
        for outcome in self.record.outcomes:
            if (outcome.candidate, STAGE) in said:
                said[outcome.candidate, STAGE].append(_realised(outcome))
        coverage = self.record.coverage()
        if coverage is not None:
            words = (
                f"{self.record.covered} of {self.record.total} predicted intervals held what the candidate earned when "
                f"it ran; {1 - self.plan.delta:.0%} is due ({coverage.lower:.0%} to {coverage.upper:.0%})"
            )
            said[EVERY] = [described(NAME, "coverage", coverage.value, self.record.total, words)]
        if left_out := self.left_out + self.pending.left_out:
            words = f"more than {MOST_LIVES} candidates at a time"
            said.setdefault(EVERY, []).append(described(NAME, "left_out", float(left_out), 0, words))
        return said


def _realised(outcome: Outcome) -> Measurement:
    predicted = outcome.predicted
    held = "held" if outcome.covered else "missed"
    words = f"predicted {predicted.value:.4g} ({predicted.lower:.4g} to {predicted.upper:.4g}): {held}"
    return replace(described(NAME, "realised", outcome.realised, 0, words), error=outcome.error)
