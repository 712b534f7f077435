"""The candidates of one deployment: a life beside each policy that ran, and how predictions came out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from detectors.arrays import F64
from detectors.candidates import episodes as candidate_episodes
from detectors.candidates.episodes import EpisodeLife
from detectors.candidates.estimates import estimate, trust_of
from detectors.candidates.life import MOST_LIVES, Life, LifePlan, begin, fold
from detectors.candidates.sums import NAME, N, largest_of, sums_of
from detectors.candidates.verdicts import measurements, withdrawn
from detectors.inference.evidence import inflation_of
from detectors.measurement import Measurement
from detectors.ope import CoverageRecord, Estimate, Outcome, Verdict
from detectors.ope.verdict import Finding
from detectors.ope.weights import LARGEST
from detectors.rewards.reward import REWARD
from detectors.windows.mean_shift import described
from monitor.evaluation.candidate_episodes import trajectories
from monitor.evaluation.shadow_pairs import doubts, unpaired
from monitor.frames import concat, take
from monitor.joining import name_of
from monitor.joins.candidates import Matured, PendingCandidates
from monitor.joins.shadows import Shadows
from monitor.joins.unfinished import Unfinished
from monitor.judging.windows import Windows, guarded
from monitor.vocabulary import STAGES, Vocabulary

STAGE = "shadow"  # under which what is said of a candidate stands
MEANING = 2  # of the sums of a life: units and the tail of weights came with the second
LIVE = ("full", "canary")
EVERY = ("*", STAGE)
KEPT = 100  # outcomes kept and shown
GONE_AFTER_WINDOWS, FORGOTTEN_AFTER_WINDOWS = 2, 144

Name = tuple[str, str]  # policy, stage
Pair = tuple[str, str, str]  # candidate, policy that ran, its stage
Follow = Callable[[Pair, Matured, int], None]  # of the rows of what ran, at the end of a bucket


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate that runs now: what was predicted, and its buckets (buckets, 3) of rewards since: n, sum, squares."""

    predicted: Estimate
    buckets: F64


@dataclass(slots=True)
class Candidates:
    """lives: (candidate, policy that ran, its stage) -> life. trials: candidate -> its first window live. left_out:
    buckets of lives that there was no room for. unfinished: where whole episodes are judged.
    """

    plan: LifePlan
    pending: PendingCandidates
    shadows: Shadows
    bucket_ms: int
    window_ms: int
    horizon_ms: int
    unfinished: Unfinished
    lives: dict[Pair, Life | EpisodeLife] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    record: CoverageRecord = field(default_factory=CoverageRecord)
    left_out: int = 0

    @property
    def waits(self) -> bool:
        """Whether decisions that name candidates may yet become final, or their episodes end."""
        return len(self.pending) > 0 or len(self.unfinished) > 0

    def add(self, matured: Sequence[Matured], vocabulary: Vocabulary, end_ms: int) -> None:
        """Fold the decisions that have become final into the lives of the candidates that they name."""
        whole = [part for part in matured if part.is_whole]
        table = concat(whole) if whole else None
        if self.plan.discount:
            if table is not None:
                self._fold(table, vocabulary, end_ms, self._meet)
            table = self.unfinished.finished(table, end_ms) if table is not None or self.unfinished else None
        if table is not None:
            self._fold(table, vocabulary, end_ms, self._episodes if self.plan.discount else self._decisions)

    def at_seal(self, windows: Windows, vocabulary: Vocabulary, end_ms: int) -> dict[Name, list[Measurement]]:
        """Say where every candidate stands."""
        if not self.lives and not self.record.total and not self.shadows.pairs:
            return {}
        self._try(windows, vocabulary, end_ms)
        oldest = end_ms - FORGOTTEN_AFTER_WINDOWS * self.window_ms
        self.shadows.forget(oldest)
        self.lives = {name: life for name, life in self.lives.items() if life.seen_ms >= oldest}
        return self._said(end_ms)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "meaning": self._meaning(),
            "pending": self.pending.state(),
            "shadows": self.shadows.state(),
            "unfinished": self.unfinished.state(),
            "lives": self.lives,
            "trials": self.trials,
            "counts": [self.record.total, self.record.covered, self.left_out],
            "outcomes": list(self.record.outcomes),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; with other budgets, another range of rewards or older sums lives begin anew."""
        self.pending.restore(state["pending"])
        if "shadows" in state:
            self.shadows.restore(state["shadows"])
            self.unfinished.restore(state["unfinished"])
        self.lives = state["lives"] if state["meaning"] == self._meaning() else {}
        self.trials = state["trials"]
        total, covered, self.left_out = state["counts"]
        self.record = CoverageRecord(total, covered, tuple(state["outcomes"]))

    def _meaning(self) -> list[Any]:
        """What the sums of a life are sums of."""
        plan = self.plan
        costs = [[name, c.budget, c.per, c.gamma] for name, c in plan.episode_budgets.items()]
        budgets = [list(budget) for budget in plan.budgets]
        return [MEANING, list(plan.reward_range or ()), budgets, plan.discount, costs]

    def _fold(self, table: Matured, vocabulary: Vocabulary, end_ms: int, follow: Follow) -> None:
        """Go through what ran, and who says anything about it."""
        for key in np.unique(table.key).tolist():
            policy, stage = name_of(key, vocabulary)
            if stage == STAGE:
                continue  # what a shadow chose was not done: its decisions have no rewards
            rows = take(table, table.key == key)
            for candidate, view in rows.candidates.items():
                name = candidate, policy, stage
                if not np.isnan(view[:, 0]).all() and self._has_room(name):
                    follow(name, rows, end_ms)

    def _decisions(self, name: Pair, table: Matured, end_ms: int) -> None:
        rows = table.rows(name[0])
        if self.plan.missing_is_zero:
            rows = replace(rows, reward=np.where(np.isnan(rows.reward), 0.0, rows.reward))
        life = self.lives.get(name) or begin(self.plan, end_ms)
        assert isinstance(life, Life)
        bucket = sums_of(rows, self.plan.reward_range, self.plan.budgets)
        self.lives[name] = fold(life, bucket, end_ms, self.plan, largest_of(rows, LARGEST))

    def _meet(self, name: Pair, steps: Matured, end_ms: int) -> None:
        """A candidate is there from its first final step on, long before an episode has ended."""
        life = self.lives.get(name) or candidate_episodes.begin(self.plan, end_ms)
        assert isinstance(life, EpisodeLife)
        self.lives[name] = replace(life, seen_ms=end_ms)

    def _episodes(self, name: Pair, steps: Matured, end_ms: int) -> None:
        plan = self.plan
        log = trajectories(steps, name[0], plan.episode_budgets, plan.discount, plan.missing_is_zero)
        life = self.lives.get(name) or candidate_episodes.begin(plan, end_ms)
        assert isinstance(life, EpisodeLife)
        self.lives[name] = candidate_episodes.fold(life, log, end_ms, plan)

    def _has_room(self, name: Pair) -> bool:
        if name in self.lives or len(self.lives) < MOST_LIVES:
            return True
        self.left_out += 1
        return False

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
        lives = [
            life
            for name, life in sorted(self.lives.items())
            if name[0] == candidate and isinstance(life, Life)  # a return is no mean of single rewards
        ]
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
        error = sqrt(max(float(square / count) - mean * mean, 0.0) / float(count) * inflation)
        record = self.record.add(Outcome(candidate, trial.predicted, self.plan.delta, mean, error))
        self.record = replace(record, outcomes=record.outcomes[-KEPT:])

    def _said(self, end_ms: int) -> dict[Name, list[Measurement]]:
        said: dict[Name, list[Measurement]] = {}
        gone_ms = end_ms - GONE_AFTER_WINDOWS * self.window_ms
        for (candidate, policy, stage), life in sorted(self.lives.items()):
            against = policy if stage == "full" else f"{policy} ({stage})"
            told = said.setdefault((candidate, STAGE), [])
            known = doubts(self.shadows.pairs.get(candidate))
            if life.seen_ms < gone_ms:
                told += withdrawn(_rows(life), against, self.plan)
            else:
                told += guarded(NAME, partial(_stands, life, against, self.plan, known))
        for candidate, pairs in sorted(self.shadows.pairs.items()):
            told = said.setdefault((candidate, STAGE), [])
            told += unpaired(pairs, has_life=any(name[0] == candidate for name in self.lives))
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
        if left_out := self.left_out + self.pending.left_out + self.shadows.left_out:
            words = f"more than {MOST_LIVES} candidates at a time"
            said.setdefault(EVERY, []).append(described(NAME, "left_out", float(left_out), 0, words))
        if crowded_out := self.pending.crowded_out:
            words = "decisions that came while as many waited for their rewards as there is room for"
            said.setdefault(EVERY, []).append(described(NAME, "crowded_out", float(crowded_out), 0, words))
        if left_out := self.unfinished.left_out:
            words = "steps that name candidates, without an episode or beyond the room for open ones"
            said.setdefault(EVERY, []).append(described(NAME, "steps_left_out", float(left_out), 0, words))
        return said


def _stands(
    life: Life | EpisodeLife, against: str, plan: LifePlan, known: Sequence[Finding]
) -> Sequence[Measurement]:
    """Where a candidate stands, by decisions or by episodes."""
    if isinstance(life, Life):
        return measurements(life, against, plan, known)
    return candidate_episodes.measurements(life, against, plan, known)


def _rows(life: Life | EpisodeLife) -> int:
    """Rows that count: decisions, or episodes."""
    return life.n if isinstance(life, EpisodeLife) else round(float(life.total.moments[N]))


def _realised(outcome: Outcome) -> Measurement:
    predicted = outcome.predicted
    held = "held" if outcome.covered else "missed"
    words = f"predicted {predicted.value:.4g} ({predicted.lower:.4g} to {predicted.upper:.4g}): {held}"
    return replace(described(NAME, "realised", outcome.realised, 0, words), error=outcome.error)
