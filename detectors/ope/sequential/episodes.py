"""A log of steps as whole episodes, ordered, with cumulative importance weights."""

from dataclasses import dataclass

import numpy as np

from detectors.ope.columns import Bools, Floats, Ints, TrajectoryLog, take, usable_rows

NEGLIGIBLE = 0.01  # of the return's discount mass: what a cut-off episode may lack


@dataclass(frozen=True, slots=True)
class Episodes:
    """Usable episodes. Rows (n,) are steps sorted by episode and step; episodes are (e,).

    first: row at which each episode starts. length: its steps. owner (n,), step (n,): of each row.
    discount (n,): gamma^t. ratio (n,): p / propensity. weight, before (n,): product of ratios up to and with
    this step, and up to the step before. reward, q, v (n,). unit (e,) or None.
    dropped: episodes that cannot be used. cut: used ones that lack their end and a critic to stand in for it.
    """

    log: TrajectoryLog
    first: Ints
    length: Ints
    owner: Ints
    step: Ints
    discount: Floats
    ratio: Floats
    weight: Floats
    before: Floats
    reward: Floats
    q: Floats | None
    v: Floats | None
    unit: Ints | None
    dropped: int
    cut: int

    @property
    def count(self) -> int:
        return len(self.first)

    @property
    def final_weight(self) -> Floats:
        """(e,) weight of the whole episode."""
        last: Floats = self.weight[self.first + self.length - 1]
        return last

    @property
    def returns(self) -> Floats:
        """(e,) discounted return."""
        return self.sums(self.discount * self.reward)

    @property
    def critic(self) -> tuple[Floats, Floats]:
        if self.q is None or self.v is None:
            raise ValueError("this estimator needs q and v, the candidate's critic")
        return self.q, self.v

    @property
    def surprises(self) -> Floats:
        """(n,) r + gamma v(s') - q, the critic's error at each step; v is 0 after the last one."""
        q, v = self.critic
        following = np.append(v[1:], 0.0)
        following[self.first + self.length - 1] = 0.0
        errors: Floats = self.reward + self.log.gamma * following - q
        return errors

    def sums(self, values: Floats) -> Floats:
        """(e,) sums over each episode's steps of values (n,)."""
        if not self.count:
            return np.zeros(0)
        sums: Floats = np.add.reduceat(values, self.first)
        return sums


def episodes_of(log: TrajectoryLog) -> Episodes:
    """Sorts, drops episodes with gaps or unusable steps, completes cut ones by the critic if given."""
    log = take(log, np.lexsort((log.step, log.episode)))
    first = _starts(log.episode)
    total = len(first)
    keep = _whole(log, first)
    log = log if keep.all() else take(log, np.repeat(keep, np.diff(np.append(first, len(log)))))
    first = _starts(log.episode)
    length = np.diff(np.append(first, len(log)))
    owner = np.repeat(np.arange(len(first)), length)
    step = np.arange(len(log)) - first[owner]
    ratio, reward, q = log.p / log.propensity, log.reward, log.q
    last = first + length - 1
    cut = np.zeros(len(first), dtype=bool) if log.ended is None else ~log.ended[last]
    if log.v is not None and log.q is not None and cut.any():
        # The last logged state of a cut episode stands for its future: its value instead of its reward.
        rows = last[cut]
        ratio, reward, q = ratio.copy(), reward.copy(), log.q.copy()
        ratio[rows], reward[rows], q[rows] = 1.0, log.v[rows], log.v[rows]
        cut = np.zeros_like(cut)
    weight = cumulative_product(ratio, first, owner)
    before = np.ones_like(weight)
    inside = step > 0
    before[inside] = weight[np.flatnonzero(inside) - 1]
    discount = log.gamma ** step.astype(np.float64)
    lacking = int(np.count_nonzero(cut & (log.gamma ** length.astype(np.float64) > NEGLIGIBLE)))
    return Episodes(
        log, first, length, owner, step, discount, ratio, weight, before, reward, q, log.v,
        log.unit[first] if log.unit is not None else None, total - len(first), lacking,
    )  # fmt: skip


def cumulative_product(ratio: Floats, first: Ints, owner: Ints) -> Floats:
    """(n,) running product of ratio within each episode, zeros included; exact where a product is one."""
    zero = ratio == 0
    logs = np.cumsum(np.log(np.where(zero, 1.0, ratio)))
    zeros = np.cumsum(zero)
    base_log = np.where(first > 0, logs[first - 1], 0.0)[owner] if len(first) else logs
    base_zeros = np.where(first > 0, zeros[first - 1], 0)[owner] if len(first) else zeros
    return np.where(zeros > base_zeros, 0.0, np.exp(logs - base_log))


def _starts(episode: Ints) -> Ints:
    """Rows at which a new episode begins, of a sorted column."""
    if not len(episode):
        return np.zeros(0, dtype=np.int64)
    return np.concatenate([[0], np.flatnonzero(np.diff(episode)) + 1]).astype(np.int64)


def _whole(log: TrajectoryLog, first: Ints) -> Bools:
    """(e,) episodes with steps 0, 1, 2, ... and every step usable."""
    if not len(first):
        return np.zeros(0, dtype=bool)
    length = np.diff(np.append(first, len(log)))
    place = np.arange(len(log)) - np.repeat(first, length)
    return np.logical_and.reduceat(usable_rows(log) & (log.step == place), first)
