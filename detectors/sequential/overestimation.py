"""Does the critic promise too much to one action or to one segment? One-sided sums of errors, group by group.

Each group has a clock of its own: its errors are gathered until there are enough of them to be one step (so that rare
groups and traffic that moves between groups change nothing of what a step is worth), and a step is folded into Page's
sums as `cusum` prices them. What a step strays by is winsorised, or heavy tails would ring 1.8 times as often as paid
for. All groups together cost one rate of false alarms (Bonferroni), half of it shared equally, half in proportion to
their traffic: a mix that moves, or traffic that grows, cannot buy more alarms than a few times what was paid for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from detectors.actions.table import ActionCodes, action_names
from detectors.arrays import F64
from detectors.charts.cusum import Bank, fit_bank
from detectors.critic import critic
from detectors.critic import groups as critic_groups
from detectors.critic.groups import ACTION, EE, E, N
from detectors.measurement import Culprit
from detectors.protocol import Baseline, Plan
from detectors.sequential.charted import TOP, WORTH_NAMING, Reading, Test, clock
from detectors.units.clusters import OPTION, Clustered
from detectors.windows.mean_shift import window_in

WATCHED = 64  # groups of a kind with sums of their own, those with most decisions
_FEWEST_STEPS = 30  # that a group must show in the baseline
_LEAST = 2.0  # decisions of a step
_MOST_STEPS = 4_000  # of a group's baseline that lines are fitted to
_REACH = 2.5  # standard deviations, by the middle nine tenths of them, that a step counts at most
_MIDDLE: F64 = np.array([0.05, 0.95])
_NORMAL_MIDDLE = 3.29  # standard deviations between these points of a normal law
_LEAST_SCALE = 0.3  # of the plain standard deviation
_GROWTH = 2.0  # times the usual decisions of a bucket, beyond which they count for as many
_NEARLY_ALL = 0.95  # of all decisions: such a group is the whole, which has sums of its own


@dataclass(frozen=True)
class OverEstimates:
    """mean: (g,) error of each group's decisions in the baseline. reach: what a step of n may stray by, times root n.
    sd: of what is left, long-run; bias: its mean. size: (g,) decisions of a usual step, least: of any. usual: (g,)
    decisions in a live bucket. lines: (g, j) of sums for shifts (j,), in sd of a usual step.
    """

    names: Sequence[str]
    mean: F64
    reach: F64
    bias: F64
    sd: F64
    size: F64
    least: F64
    usual: F64
    shifts: F64
    lines: F64

    @cached_property
    def _shape(self) -> tuple[int, int]:
        return (len(self.names), len(self.shifts))

    def begin(self) -> F64:
        """The state before any bucket: each sum, its decisions, when it left zero; what is gathered of each group."""
        groups, shifts = self._shape
        return np.zeros(3 * groups * shifts + 2 * groups)

    def step(self, state: F64, reading: Reading, start_ms: float) -> F64:
        """The state after one more bucket; sums (2, g) of a reading: decisions and errors of each group.

        A sum falls by half of its shift for each usual step's worth of decisions, so that a step may have any size; one
        of more than two usual steps counts as two.
        """
        sums, length, since, gathered = self._split(state)
        n, error = gathered + reading.sums[0]
        full = n >= self.least
        worth = np.minimum(n, 2 * self.size)
        reach = self.reach * np.sqrt(worth)
        strayed = np.clip((error - n * self.mean) * worth / np.maximum(n, 1.0), -reach, reach)
        z = (strayed - worth * self.bias) / (self.sd * np.sqrt(self.size))
        moved = np.maximum(sums + z[:, None] - self.shifts / 2 * (worth / self.size)[:, None], 0.0)
        moved = np.where(full[:, None], np.minimum(moved, self._most), sums)
        risen = moved > 0
        length = np.where(risen, length + (n * full)[:, None], 0.0)
        since = np.where(sums > 0, since, start_ms) * risen
        left = np.where(full, 0.0, np.stack([n, error]))
        return np.concatenate([moved.ravel(), length.ravel(), since.ravel(), left.ravel()])

    def severity(self, state: F64) -> float:
        """Distance to the nearest line; 1 is passed."""
        return float(self._nearest(state).max())

    def culprits(self, state: F64) -> list[Culprit]:
        """The groups nearest to their lines, worst first."""
        each = self._nearest(state).max(axis=1)
        order = np.argsort(-each, kind="stable")[:TOP]
        return [
            Culprit(self.names[i], float(each[i]))
            for i in order.tolist()
            if each[i] > WORTH_NAMING * each.max()
        ]

    def said(self, state: F64) -> str:
        """Where it promises too much, by how much and since when, in words."""
        nearest = self._nearest(state)
        group, shift = (int(i) for i in np.unravel_index(int(np.argmax(nearest)), nearest.shape))
        sums, length, since, _ = self._split(state)
        n, size, sd = max(float(length[group, shift]), 1e-9), float(self.size[group]), float(self.sd[group])
        # mean error since the sum left zero: what it has gained, and the half shift that it lost with every usual step
        by = (float(sums[group, shift]) / (n / size) + float(self.shifts[shift]) / 2) / np.sqrt(size) * sd
        return (
            f"the critic over-estimates in {self.names[group]}: its mean of value - target has been"
            f" {by:.3g} ± {sd / np.sqrt(n):.1g} above its baseline {self.mean[group]:.4g}"
            f" since {clock(float(since[group, shift]))} (about {n:.0f} of its decisions)"
        )

    def smallest(self) -> tuple[float, float, float]:
        """Of the group that is slowest: its mean, the smallest shift looked for, buckets until its sum passes."""
        known = np.isfinite(self.lines)
        first = known.argmax(axis=1)
        rows = np.arange(len(self.names))
        steps = self.lines[rows, first] / (self.shifts[first] / 2)
        buckets = steps * self.size / self.usual
        slowest = int(np.argmax(buckets))
        change = self.shifts[first] * self.sd / np.sqrt(self.size)
        return float(self.mean[slowest]), float(change[slowest]), float(buckets[slowest])

    @cached_property
    def _most(self) -> F64:
        """(g, j) where sums are held."""
        return np.where(np.isfinite(self.lines), self.lines, 0.0)

    def _nearest(self, state: F64) -> F64:
        return np.asarray(self._split(state)[0] / self.lines)

    def _split(self, state: F64) -> tuple[F64, F64, F64, F64]:
        groups, shifts = self._shape
        sums, length, since = state[: 3 * groups * shifts].reshape(3, groups, shifts)
        return sums, length, since, state[3 * groups * shifts :].reshape(2, groups)


def over_test(baseline: Baseline, plan: Plan, per_bucket: float, lag_ms: int, kind: str) -> Test | None:
    """From the series of `critic_groups`; None where the baseline knows no group well enough that is not the whole."""
    field = critic_groups.FIELDS[kind]
    held = np.asarray(baseline.series[field], np.float64)
    whole = np.asarray(baseline.series["whole"], np.float64)
    names = action_names(held.shape[2], baseline.labels if kind == ACTION else baseline.segments)
    n, everyone = held[:, N].sum(axis=0), float(whole[:, N].sum())
    known = np.flatnonzero((n >= _FEWEST_STEPS * _LEAST) & (n < _NEARLY_ALL * everyone))
    known = known[np.argsort(-n[known], kind="stable")][:WATCHED]
    if not len(known):
        return None
    rates = per_bucket * (0.5 / len(known) + 0.5 * n[known] / n[known].sum())
    units = _units(plan, whole, held[:, :, known])
    prefix = "action " if kind == ACTION else ""
    found = [
        _fitted(prefix + names[code], held[:, :, code], baseline, plan, rate, unit)
        for code, rate, unit in zip(known.tolist(), rates.tolist(), units, strict=True)
    ]
    groups = [group for group in found if group is not None]
    if not groups:
        return None
    place = {group.name.removeprefix(prefix): i for i, group in enumerate(groups)}
    codes = ActionCodes(place, len(groups))
    most = _GROWTH * everyone / len(whole) * plan.bucket_ms / baseline.bucket_ms

    def read(bucket: Mapping[str, Any], labels: Sequence[str]) -> Reading:
        live = np.asarray(bucket[field], np.float64)
        sums = np.zeros((2, len(groups) + 1))
        np.add.at(sums.T, codes.of(live.shape[1], labels), live[[N, E]].T)
        events = float(np.asarray(bucket["whole"])[N])
        return Reading(events, [sums[:, :-1] * min(1.0, most / max(events, 1.0))])

    return Test(f"critic_over_by_{kind}", critic_groups.NAME, [_together(groups)], read, lag_ms, by=field)


@dataclass(frozen=True, slots=True)
class _Group:
    """bank: of one series of winsorised steps. least: decisions of a step. usual: in a live bucket."""

    name: str
    mean: float
    reach: float
    bank: Bank
    least: float
    usual: float


def _fitted(
    name: str, sums: F64, baseline: Baseline, plan: Plan, rate: float, unit: Clustered | None
) -> _Group | None:
    """From a group's sums (t, 6) per baseline bucket; None where its steps are few or never vary.

    rate: false alarms per live bucket.
    """
    ratio, window = plan.bucket_ms / baseline.bucket_ms, window_in(baseline, plan)
    total, buckets = float(sums[:, N].sum()), len(sums)
    usual = total / buckets * ratio
    least = max(_LEAST, usual / 2)
    n, error = _steps(sums[:, N], sums[:, E], max(least, total / _MOST_STEPS))
    size = max(usual, least)
    per_step = rate * size / usual
    window_steps = max(1, round(window * len(n) / buckets))
    prices = np.array([[0.0, per_step]])
    mean = float(sums[:, E].sum()) / total
    reach = _reach((error - n * mean) / np.sqrt(n))
    kept = np.clip(error - n * mean, -reach * np.sqrt(n), reach * np.sqrt(n))
    bank = fit_bank(kept[:, None], n, size / float(n.mean()), prices, window_steps, [unit])
    if bank is None or not bank.sd[0] > 0 or not np.isfinite(bank.lines[0, 1]).any():
        return None
    return _Group(name, mean, reach, bank, least, usual)


def _together(groups: Sequence[_Group]) -> OverEstimates:
    """One chart of all groups; a shift that is not looked for in a group has no line there."""
    shifts = np.unique(np.concatenate([group.bank.shifts for group in groups]))
    lines = np.full((len(groups), len(shifts)), np.inf)
    for group, row in zip(groups, lines, strict=True):
        row[np.searchsorted(shifts, group.bank.shifts)] = group.bank.lines[0, 1]
    mean, reach, least, usual = np.array([(g.mean, g.reach, g.least, g.usual) for g in groups]).T
    bias, sd, size = np.array([(g.bank.mean[0], g.bank.sd[0], g.bank.size) for g in groups]).T
    names = [group.name for group in groups]
    return OverEstimates(names, mean, reach, bias, sd, size, least, usual, shifts, lines)


def _reach(strayed: F64) -> float:
    """What steps (t,), over the root of their decisions, may stray by."""
    low, high = np.quantile(strayed, _MIDDLE)
    return float(_REACH * max((high - low) / _NORMAL_MIDDLE, _LEAST_SCALE * strayed.std()))


def _steps(n: F64, error: F64, least: float) -> tuple[F64, F64]:
    """(steps,) decisions and errors of successive buckets (t,), gathered until there are enough of them."""
    counts, errors, many, total = [], [], 0.0, 0.0
    for more, strayed in zip(n.tolist(), error.tolist(), strict=True):
        many, total = many + more, total + strayed
        if many >= least:
            counts.append(many)
            errors.append(total)
            many, total = 0.0, 0.0
    return np.array(counts), np.array(errors)


def _units(plan: Plan, whole: F64, held: F64) -> list[Clustered | None]:
    """How far units make errors of groups (t, 6, g) stray: as all errors do, in proportion to their variance."""
    known: Clustered | None = plan.options.get(OPTION, {}).get(critic.NAME)
    groups = held.sum(axis=0)
    everyone = _variance(whole.sum(axis=0))
    if known is None or not everyone > 0:
        return [None] * held.shape[2]
    return [known.times(float(variance / everyone)) for variance in _variance(groups)]


def _variance(sums: F64) -> F64:
    return np.asarray(sums[EE] / sums[N] - (sums[E] / sums[N]) ** 2)
