"""One watched deployment: its joins, its windows and its judge, sealed bucket by bucket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from alerts.blindness import Blindness, Traffic
from alerts.closed_loop import ClosedLoops, LoopNews, Served, alert_name
from alerts.judge import Judge
from alerts.rules import SEQUENTIAL
from alerts.signal import Signal
from alerts.violations import ViolationEvent
from alerts.wording import span
from detectors.actions.mix_cause import explained
from detectors.measurement import Measurement, unknown
from detectors.protocol import Plan
from detectors.rewards import comparison
from detectors.rewards.reward import REWARD
from detectors.rows import BucketRows
from monitor.baselines.collecting import Collector
from monitor.config import DeploymentConfig
from monitor.evaluation.candidates import Candidates
from monitor.joining import EVERY_POLICY, Joining, name_of
from monitor.judging.coverage import Coverage
from monitor.judging.crowding import left_out
from monitor.judging.sequential_tests import SequentialTests
from monitor.judging.slow_changes import SlowChanges
from monitor.judging.windows import Group, Windows, guarded
from monitor.sealed import Sealed
from monitor.vocabulary import Vocabulary

CROWDED = " Busier policies have taken its place (max_policies)."
ACCEPTED_STAGES = ("full", "canary")  # a shadow's and a fallback's traffic is no reference
RETIRED_AFTER_WINDOWS = 144  # a policy without a decision for so many windows (a day of 10 min) is forgotten


@dataclass(slots=True)
class Watched:
    """The state of one deployment; `seal` is called at the end of each of its buckets."""

    config: DeploymentConfig
    code: int
    vocabulary: Vocabulary
    joining: Joining
    windows: Windows
    judge: Judge
    comparison_plan: Plan
    slow_changes: SlowChanges
    coverage: Coverage
    sequential: SequentialTests
    blindness: Blindness
    loops: ClosedLoops
    candidates: Candidates
    sealed_buckets: int = 0
    crowded_out: int = 0
    verdicts: dict[tuple[str, str], list[Measurement]] = field(default_factory=dict)

    def seal(self, end_ms: int) -> Sealed:
        """Count the bucket that ends now, measure every key's window and judge what was measured."""
        groups = self.joining.take()
        room, crowded = self._with_room(groups)
        self.windows.add(room)
        self.candidates.add(self.joining.take_matured(), self.vocabulary, end_ms)
        traffic = traffic_of([group.rows for group in groups])
        return self.judged(end_ms, traffic, self._served(groups), crowded)

    def judged(
        self,
        end_ms: int,
        traffic: Traffic,
        served: Mapping[tuple[str, str], Served] | None = None,
        crowded: Sequence[tuple[str, str]] = (),
    ) -> Sealed:
        """Measure and judge what has been counted up to the end of a bucket, here or by shards.

        served: what made its decisions; None where that is not known, and then no loop is closed. crowded: who has lost
        its windows to busier ones.
        """
        keys = sorted((name_of(key, self.vocabulary), key) for key in self.windows.keys_in_window(end_ms))
        measured = {name: self._measure(name, key, end_ms) for name, key in keys}
        for name, said in self.candidates.at_seal(self.windows, self.vocabulary, end_ms).items():
            measured.setdefault(name, []).extend(said)
        signals = self.judge.at_seal(end_ms, measured)
        retired = self._retire(end_ms)
        for name in crowded:
            signals += self.judge.leave(name, end_ms, len(signals), CROWDED)
        for name in retired:
            signals += self.judge.leave(name, end_ms, len(signals), self._silent)
        signals += self.blindness.at_seal(end_ms, traffic, measured, len(signals))
        signals = [self.loops.told(signal) for signal in signals]
        ended = {alert_name(one) for one in signals if one.state == "resolved"}
        news = LoopNews() if served is None else self.loops.at_seal(end_ms, served, len(signals), ended)
        self.loops.follow(signals)
        for name in (*crowded, *retired):
            self.loops.forget(name)
        self.windows.prune(end_ms)
        self.sealed_buckets += 1
        self.verdicts = measured
        return Sealed(
            deployment=self.config.name,
            end_ms=end_ms,
            window_ms=self.config.window_ms,
            baseline=self.baseline,
            measured=measured,
            signals=[*signals, *news.signals],
            again=news.again,
            safe=news.safe,
            loops_open=len(self.loops.open),
            decisions=traffic.decisions,
        )

    @property
    def baseline(self) -> str:
        """The hash of the baseline, empty where there is none."""
        return self.judge.mandate.baseline or ""

    def _with_room(self, groups: list[Group]) -> tuple[list[Group], list[tuple[str, str]]]:
        """The groups of the policies that have windows of their own, and who has lost them; others' are counted."""
        busy = {name[1:] for name in self.judge.alerts} | self.judge.incidents.keys()
        busy |= {(loop.policy, loop.stage) for loop in self.loops.open.values()}
        kept = {EVERY_POLICY} | {key for key in self.windows.buckets if name_of(key, self.vocabulary) in busy}
        without = left_out(self.windows.buckets, groups, kept, self.config.max_policies)
        lost = [self._forget(key) for key in sorted(without & self.windows.buckets.keys())]
        self.crowded_out += sum(len(group.rows.decisions) for group in groups if group.key in without)
        return ([group for group in groups if group.key not in without] if without else groups), lost

    def awake(self, now_ms: int) -> bool:
        """Whether sealing goes on without events: a bucket has begun, a candidate waits, a window holds something."""
        waiting = bool(self.joining.piles) or self.candidates.waits
        return waiting or self.windows.awake(now_ms)

    def violations(self, events: Sequence[ViolationEvent]) -> list[Signal]:
        """The signals of forbidden actions, at once."""
        signals = self.judge.at_violations(events)
        self.loops.follow(signals)
        return signals

    def _served(self, groups: Sequence[Group]) -> dict[tuple[str, str], Served]:
        """What made the decisions of a bucket."""
        found: dict[tuple[str, str], Served] = {}
        for group in groups:
            ts_ms = group.rows.decisions.ts_ms
            if len(ts_ms):
                name = name_of(group.key, self.vocabulary)
                found[name] = Served(len(ts_ms), int(ts_ms.min()), int(ts_ms.max()))
        return found

    def _measure(self, name: tuple[str, str], key: int, end_ms: int) -> list[Measurement]:
        labels = self.vocabulary.action_labels(self.code).names
        segments = self.vocabulary.segments_of(self.code).names
        measured = self.windows.measure(key, end_ms, labels, segments)
        measured += guarded("change_points", partial(self.slow_changes.at_seal, key, self.windows, end_ms))
        # A sequential test remembers: what the baseline has not seen the season of is nothing to remember.
        if self.coverage.sees(end_ms - self.config.window_ms, end_ms):
            follow = partial(self.sequential.at_seal, key, self.windows, end_ms, labels, measured, segments)
            measured += guarded(SEQUENTIAL, follow)
        measured = self.coverage.judged(explained(measured), end_ms - self.config.window_ms, end_ms)
        if name[1] == "canary":
            measured += guarded(comparison.NAME, lambda: [self._against_the_rest(key, end_ms)])
        return measured

    def _against_the_rest(self, canary: int, end_ms: int) -> Measurement:
        """The canary's rewards beside those of the full traffic of the same minutes."""
        mine = self.windows.window(canary, REWARD.name, end_ms, ())
        rest = [
            window
            for key in self.windows.keys_in_window(end_ms)
            if name_of(key, self.vocabulary)[1] == "full"
            and (window := self.windows.window(key, REWARD.name, end_ms, ())) is not None
        ]
        if mine is None or not rest:
            return unknown(
                comparison.NAME, comparison.STATISTIC, 0, "there is no full traffic to compare with"
            )
        biggest = max(rest, key=lambda window: float(window.total.decisions[0]))
        return comparison.compare(mine, biggest, self.comparison_plan)

    def _retire(self, end_ms: int) -> list[tuple[str, str]]:
        """Who has made no decision for so long that it no longer counts as watched."""
        return [self._forget(key) for key in sorted(self.windows.retired(end_ms, self._retired_ms))]

    @property
    def _retired_ms(self) -> int:
        return RETIRED_AFTER_WINDOWS * self.config.window_ms

    @property
    def _silent(self) -> str:
        return f" It has made no decision for {span(self._retired_ms)}."

    def _forget(self, key: int) -> tuple[str, str]:
        """What has been counted of a key goes; returns whose it was, for its alerts to end."""
        self.windows.forget(key)
        self.slow_changes.forget(key)
        self.sequential.forget(key)
        return name_of(key, self.vocabulary)


def traffic_of(parts: Sequence[BucketRows]) -> Traffic:
    """How much has come, of decisions and of first rewards."""
    first = [np.isnan(rows.outcomes.reward_before) & ~np.isnan(rows.outcomes.reward) for rows in parts]
    return Traffic(
        decisions=sum(len(rows.decisions) for rows in parts), rewarded=int(sum(mask.sum() for mask in first))
    )


@dataclass(slots=True)
class Gatherer:
    """Stands where a Watched stands while a baseline is made: counts accepted traffic, judges nothing."""

    config: DeploymentConfig
    vocabulary: Vocabulary
    joining: Joining
    collector: Collector

    def seal(self, end_ms: int) -> Sealed:
        """Hand the bucket's rows to the collector."""
        accepted = [g for g in self.joining.take() if name_of(g.key, self.vocabulary)[1] in ACCEPTED_STAGES]
        self.collector.add(accepted)
        decisions = sum(len(group.rows.decisions) for group in accepted)
        return Sealed(self.config.name, end_ms, self.config.window_ms, "", {}, [], decisions)

    def awake(self, now_ms: int) -> bool:
        """Whether a decision still waits for its reward or an episode for its end: a baseline waits them out."""
        return bool(self.joining.piles) or self.joining.open_decisions > 0

    def violations(self, events: Sequence[ViolationEvent]) -> list[Signal]:
        """Nothing is judged."""
        return []
