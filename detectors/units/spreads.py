"""How far sums stray between units in many directions at once: design effects.

The variance of a sum of events between units, over that of single events, is the design effect (Kish, "Survey
Sampling", 1965). Of many directions some show a large one by chance: each has its own only where that is clearly not
the one of all together, so that units which do not differ make no test slower.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import special

from detectors.arrays import F64, Bool
from detectors.units.clusters import Clustered

_BY_CHANCE = 0.05  # that any direction has its own (Bonferroni)
_TOGETHER = 2.0  # standard errors beyond which all directions together stray between units
_NEXT_TO_EACH_OTHER = 1.5  # windows skipped
_LONGEST = 1.5  # lives of a window that begin anywhere: windows cut them, and lose a third of what they add


@dataclass(frozen=True, slots=True)
class Between:
    """Of m sums per event: window, whole (m,) variances between units over a window and over the whole baseline.

    dof: (m,) what the former is worth. rows: (r, m) residual sums, whose squares add up to it. groups: what those of
    the whole baseline are worth. skipped: windows of the baseline for one of these.
    """

    window: F64
    whole: F64
    dof: F64
    rows: F64
    groups: float
    skipped: float

    @classmethod
    def of(cls, n: F64, sums: F64, skipped: float) -> Self:
        """From how many events (t, g) and their sums (t, g, m) in the groups of t windows."""
        total, events, squared = n.sum(axis=1), float(n.sum()), (n**2).sum(axis=1)
        mean = sums.sum(axis=1) / np.maximum(total, 1.0)[:, None]
        lost = 1 - squared / np.maximum(total, 1.0) ** 2  # of events of one group: nothing is left
        scale = np.sqrt(1 / np.maximum(lost, 1e-9) / events) * (lost > 0)
        rows = ((sums - n[:, :, None] * mean[:, None]) * scale[:, None, None])[n > 0]
        window, fourth = (rows**2).sum(axis=0), (rows**4).sum(axis=0)
        dof = float(np.maximum(total**2 / np.maximum(squared, 1e-300) - 1, 0.0).sum())
        tails = fourth / np.where(window > 0, window, 1.0) ** 2 * events**2 / squared.sum()
        every, in_all = n.sum(axis=0), sums.sum(axis=0)
        alike = float((every**2).sum()) / events**2
        strays = ((in_all - np.multiply.outer(every, in_all.sum(axis=0) / events)) ** 2).sum(axis=0)
        whole = strays / events / max(1 - alike, 1e-9)
        dofs = dof * 2 / np.maximum(tails - 1, 2.0)
        return cls(window, window + skipped * (whole - window), dofs, rows, max(1 / alike - 1, 1.0), skipped)

    def effects(self, plain: F64, dof: F64) -> "Effects":
        """plain: (m,) variances per event of what units do not tie together, worth dof (m,)."""
        known = (plain > 0) & (self.window > 0)
        if not known.any():
            return Effects(plain, np.ones(len(plain)), np.ones(len(plain)), self.dof, self.rows[:0])
        ratio = np.where(known, self.window / np.where(known, plain, 1.0), 1.0)
        error = np.sqrt(2 / self.dof + 2 / np.maximum(dof, 1.0))
        different = _different(self.rows[:, known])
        effect = np.maximum(_shrunk(ratio, error, known, different), 1.0)
        whole = np.where(known, self.whole / np.where(known, self.window, 1.0), 1.0)
        its_error = self.skipped * np.sqrt(2 / self.groups + 2 / self.dof)
        of_mean = np.maximum(_shrunk(whole, its_error, known, different), 1.0)
        added = float((ratio[known] - 1).mean())
        if (effect > 1).any() and added > 0 and self.skipped < _NEXT_TO_EACH_OTHER:
            longer = float((whole * ratio - 1)[known].mean()) / added
            stretched = 1 + (effect - 1) * min(max(longer, 1.0), _LONGEST)
            of_mean, effect = np.maximum(of_mean * effect / stretched, 1.0), stretched
        return Effects(plain, effect, of_mean, self.dof, self.rows if (effect > 1).any() else self.rows[:0])


@dataclass(frozen=True, slots=True)
class Effects:
    """Of m directions: how many times their plain variance sums stray over a window, and their mean once more.

    plain: (m,) that variance per event. dof: (m,) what the effect is worth. rows: as of `Between`, none where no
    direction strays between units. steady: (m,) as of `Clustered`.
    """

    plain: F64
    effect: F64
    of_mean: F64
    dof: F64
    rows: F64
    steady: F64 | float = np.inf

    @property
    def variance(self) -> F64:
        """(m,) per event, of a sum over a window."""
        return np.asarray(self.plain * self.effect)

    @property
    def together(self) -> float:
        """The effect on all directions, each by how much it strays."""
        return float(self.variance.sum()) / max(float(self.plain.sum()), 1e-300) if self.plain.any() else 1.0

    def unsteady(self, rank: int, size: float) -> float:
        """Relative variance, because of units, of the squared length of the residual of a bucket of `size` events.

        For the columns of a frame of `rank` directions, whose last is that length.
        """
        return float(self.variance[-1]) / rank**2 / size if self.effect[-1] > 1 else 0.0

    def clustered(self) -> list[Clustered]:
        """One per direction; variances of nothing where units add nothing to what the buckets themselves show."""
        steady = np.broadcast_to(np.asarray(self.steady), self.plain.shape)
        window = np.where(self.effect > 1, self.variance, 0.0)
        whole = np.where(self.of_mean > 1, self.variance * self.of_mean, window)
        columns = window, whole, self.dof, self.effect > 1, steady
        return [Clustered(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def plain_of(sums: F64, n: F64) -> tuple[F64, F64]:
    """(m,) variance per event of bucket sums (t, m) over n (t,), and what it is worth."""
    residuals = sums - np.multiply.outer(n, sums.sum(axis=0) / n.sum())
    variance = residuals.var(axis=0, ddof=1)
    fourth = (residuals**4).mean(axis=0) / np.where(variance > 0, variance, 1.0) ** 2
    return variance / float(n.mean()), len(n) * 2 / np.maximum(fourth - 1, 0.5)


def _different(rows: F64) -> float:
    """How many independent directions the mean square of (r, m) is worth: m squared over all squared correlations.

    Shares of actions add up to one, features share causes: their variances then stray together.
    """
    scaled = rows / np.sqrt((rows**2).sum(axis=0))
    return float(scaled.shape[1] ** 2 / ((scaled.T @ scaled) ** 2).sum())


def _shrunk(ratio: F64, error: F64, known: Bool, different: float) -> F64:
    """(m,) the ratio of all together, 1 unless it is clearly more; a direction's own where that is clearly another."""
    count = int(known.sum())
    together = float(ratio[known].mean())
    its_error = float(np.sqrt((error[known] ** 2).mean() / different))
    common = together if together > 1 + _TOGETHER * its_error else 1.0
    own = np.abs(ratio / common - 1) > -float(special.ndtri(_BY_CHANCE / count)) * error
    return np.asarray(np.where(own & known, ratio, common))
