"""How far a vector of means has moved in no direction known beforehand: fading sums of white bucket residuals.

Multivariate exponentially weighted moving averages (Lowry, Woodall, Champ & Rigdon, Technometrics 1992) at several
memories at once. The squared length of such a sum is matched to a shifted chi-square by the three cumulants that the
baseline's own series shows (Hall-Buckley-Eagleson), and passes a level b as often as the squared length of an
Ornstein-Uhlenbeck process: density(b) times its drift back from b (Aldous, "Probability approximations via the Poisson
clumping heuristic", 1989, section D8), b raised by .583 of a step for discrete looks (Siegmund 1985).
"""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64
from detectors.inference.laws import chi2_density, chi2_tail
from detectors.inference.quadratic_form import traces_of_scores
from detectors.windows.own_windows import raised

FORGETS: F64 = np.array([0.4, 0.12, 0.04, 0.0133])  # share of the sum that each bucket loses
FEWEST_BUCKETS = 60
_PAID = 1.0  # of its rate: neighbouring memories ring together, which pays for what a short baseline costs (simulated)
DEPENDENT = 3.0
# Of its rate where residuals are correlated: their fading sums stray further than a short baseline shows (simulated,
# AR(1) .5: 5 times as often as told from 2,000 rows without it).
LESS = 0.3
_HELD = 1.05
_CLEAR = 2.0  # standard errors
ABOVE, CLEAR = 1.02, 1.2  # of the largest of the baseline's own: where dependent, where theory is refuted
REFUTED, GROSS = 0.02, 1.25
CORRELATED, _LOOKS, _LOOKS_CORRELATED = (
    1.1,
    6.0,
    50.0,
)  # theory is trusted only as far as residuals are independent


@dataclass(frozen=True, slots=True)
class Ellipse:
    """mean: (p,) per event. lines: (j,).

    turn: (p, q) makes residuals of a usual bucket of `size` events white; (p,) scales each by itself.
    apart: the squared lengths of single buckets do not count, only how far buckets agree (a U statistic: products of
    states have heavy-tailed lengths, which are most of the noise where there are many of them). radius: longest
    residual that one bucket may have; centre: (q,) the mean of residuals so shortened. worth: (j, q) of each squared
    component at each memory.
    """

    mean: F64
    turn: F64
    size: float
    forgets: F64
    lines: F64
    apart: bool = False
    radius: float = np.inf
    centre: F64 | float = 0.0
    worth: F64 | float = 1.0

    def white(self, sums: F64, n: F64 | float) -> F64:
        """(..., q) residuals of bucket sums (..., p); a bucket with more events than usual counts as a usual one."""
        n = np.asarray(n, dtype=np.float64)[..., None]
        residuals = (sums - n * self.mean) * np.minimum(1.0, self.size / n)
        turned = residuals * self.turn if self.turn.ndim == 1 else residuals @ self.turn
        return np.asarray(shortened(turned, self.radius) - self.centre)

    @property
    def zero(self) -> F64:
        """(j, q + 1) the state before any bucket: fading sums, and the fading sum of single squared lengths."""
        return np.zeros((len(self.forgets), self.turn.shape[-1] + 1))

    def step(self, state: F64, sums: F64, n: float) -> F64:
        """(j, q + 1) the state after one more bucket of n > 0 events, held just past its lines.

        So that it falls again within its memory once the change has gone, however large it was.
        """
        white, keep = self.white(sums, n), 1 - self.forgets
        moved = keep[:, None] * state[:, :-1] + white
        own = keep**2 * state[:, -1] + white @ white
        beyond = np.maximum(self._strays(moved, own) / (_HELD * self.lines), 1.0)
        return np.column_stack([moved / np.sqrt(beyond)[:, None], own / beyond])

    def severity(self, state: F64) -> float:
        """Squared length over its line, at the worst memory."""
        return float((self._strays(state[:, :-1], state[:, -1]) / self.lines).max())

    def parts(self, state: F64) -> F64:
        """(q,) what each component has in the squared length at the worst memory."""
        worst = int(np.argmax(self._strays(state[:, :-1], state[:, -1]) / self.lines))
        weights = np.broadcast_to(self.worth, (len(self.forgets), state.shape[1] - 1))
        return np.asarray(weights[worst] * state[worst, :-1] ** 2)

    def moved(self, state: F64) -> F64:
        """(p,) about how far each mean per event has moved, by the worst memory; where each is scaled by itself."""
        worst = int(np.argmax(self._strays(state[:, :-1], state[:, -1]) / self.lines))
        scale = np.where(self.turn > 0, self.turn, np.inf) * self.size
        return np.asarray(state[worst, :-1] * self.forgets[worst] / scale)

    def _strays(self, sums: F64, own: F64) -> F64:
        lengths = (self.worth * sums**2).sum(axis=1)
        return np.asarray(lengths - own if self.apart else lengths)


def shortened(white: F64, radius: float) -> F64:
    """(..., q) vectors, none longer than the radius."""
    length = np.sqrt((white**2).sum(axis=-1, keepdims=True))
    return np.asarray(white * np.minimum(1.0, radius / np.maximum(length, 1e-300)))


def fit_ellipse(
    mean: F64,
    turn: F64,
    size: float,
    white: F64,
    rate: float,
    inflation: float = 1.0,
    apart: bool = False,
    radius: float = np.inf,
    centre: F64 | float = 0.0,
    between: F64 | None = None,
    of_mean: float = 1.0,
    unsteady: float = 0.0,
) -> Ellipse | None:
    """None where the baseline is too short, for its autocorrelation, to show how far fading sums stray.

    white: (t, q) the baseline's own residuals from means that they took no part in. rate: false alarms per bucket.
    inflation: long-run over plain variance of the residuals. between: (r, q) values with the covariance that units give
    such residuals, where that is known; of_mean: how many times the variance of the mean is what it says; unsteady:
    relative variance of the squared length of a bucket's residual, over what a normal one has.
    """
    worth = FORGETS * len(white) / inflation  # independent looks
    forgets = FORGETS[worth >= (_LOOKS if inflation <= CORRELATED else _LOOKS_CORRELATED)]
    if len(forgets) == 0:
        return None
    theory = _normal(white, between)
    if inflation > CORRELATED and any(
        _varies(forget, white, theory, apart) > DEPENDENT for forget in forgets
    ):
        return None
    dependent = inflation > CORRELATED
    each = rate * (LESS if dependent else _PAID) / len(forgets)
    lines = np.array(
        [_line(forget, white, theory, each, dependent, apart, of_mean, unsteady) for forget in forgets]
    )
    known = np.isfinite(lines)
    if not known.any():
        return None
    return Ellipse(mean, turn, size, forgets[known], lines[known], apart, radius, centre)


def beyond_units(inflation: float, dof: F64) -> float:
    """How dependent residuals are beyond what units explain: 1 unless that is clearly more. dof: (q,) of it."""
    return inflation if inflation > CORRELATED * (1 + _CLEAR * np.sqrt(2 / float(dof.mean()))) else 1.0


def _normal(white: F64, between: F64 | None = None) -> F64:
    """(4,) cumulants of the squared length of one normal residual with the covariance that these show, or units do.

    Last by how much units lengthen it: what different buckets agree on.
    """
    own = _cumulants_of(white)
    if between is None or not len(between):
        return np.append(own, 0.0)
    units = _cumulants_of(between)
    return np.append(np.maximum(own, units), max(float(units[0] - own[0]), 0.0))


def _cumulants_of(values: F64) -> F64:
    """(3,)"""
    traces = traces_of_scores(values)
    return np.array([float(traces.c1), 2 * float(traces.c2), 8 * float(traces.c3)])


def _varies(forget: float, white: F64, theory: F64, apart: bool) -> float:
    """Variance of the squared lengths of fading sums over that of independent normal residuals.

    Products are heavy-tailed without being dependent; where residuals are correlated besides (episodes that repeat
    themselves), the tail of such sums is not known from a few of them.
    """
    variance = theory[1] * memory(forget) ** 2 * (_agreement(forget) if apart else 1.0)
    return float(np.var(squares(forget, white, apart)) / variance)


def _line(
    forget: float,
    white: F64,
    theory: F64,
    rate: float,
    dependent: bool,
    apart: bool,
    of_mean: float,
    unsteady: float,
) -> float:
    """By theory; where the baseline's own series goes beyond what theory allows it, by that series' own tail.

    None (inf) where it goes far beyond: sums of episodes that repeat themselves have no tail that half of them tells.
    """
    own = squares(forget, white, apart)
    c1, c2, c3 = _cumulants(forget, own, len(white) / of_mean, theory, apart)
    if not apart:
        c2, c3 = _mixed(c1, c2, c3, unsteady * (1 - _agreement(forget)))
    dof = 8 * c2**3 / c3**2
    scale = np.sqrt(c2 / (2 * dof))
    shift = c1 - scale * dof
    left_out = float(theory[0] - theory[3]) * memory(forget) if apart else 0.0
    law = (forget, dof, scale, shift, c1, left_out)
    line = _passed(rate, *law)
    allowed = _passed(REFUTED / len(white), *law)
    if own.max() > GROSS * allowed:
        return np.inf
    if own.max() <= allowed:
        return max(line, ABOVE * float(own.max())) if dependent else line
    return max(line, float(raised(np.asarray(0.0), own, rate)), CLEAR * float(own.max()))


def memory(forget: float) -> float:
    """Variance of a fading sum of values of variance 1."""
    return 1 / (1 - (1 - forget) ** 2)


def _agreement(forget: float) -> float:
    """Share of the variance of a squared fading sum that lies in products of different buckets."""
    return 1 - (1 - (1 - forget) ** 2) ** 2 / (1 - (1 - forget) ** 4)


def squares(forget: float, white: F64, apart: bool) -> F64:
    """(t,) the squared length of the fading sum along a series, without those of single buckets where `apart`."""
    state, own, found = np.zeros(white.shape[1]), 0.0, np.empty(len(white))
    for i, row in enumerate(white):
        state = (1 - forget) * state + row
        own = (1 - forget) ** 2 * own + row @ row if apart else 0.0
        found[i] = state @ state - own
    return found[min(int(2 / forget), len(white) // 4) :]


def _cumulants(
    forget: float, own: F64, length: float, normal: F64, apart: bool
) -> tuple[float, float, float]:
    """Mean, variance and third cumulant: of normal residuals, or the series' own where they are larger.

    The error of the baseline's own mean adds 1 / (forget^2 length) per dimension to a fading sum's variance.
    """
    error = 1 / (forget**2 * length)
    variance, agree = memory(forget) + error, _agreement(forget) if apart else 1.0
    theory = [
        float(normal[0]) * error + float(normal[3]) * memory(forget)
        if apart
        else float(normal[0]) * variance,
        float(normal[1]) * variance**2 * agree,
        float(normal[2]) * variance**3 * agree**1.5,
    ]
    centred = own - own.mean()
    seen = [float(own.mean()), float((centred**2).mean()), float((centred**3).mean())]
    independent = (
        len(own) * forget / 2
    )  # what a slowly moving series is worth: its cumulants are trusted as far
    c1 = max(theory[0], seen[0])
    c2 = max(theory[1], seen[1]) if independent > 20 else theory[1]
    c3 = max(theory[2], seen[2]) if independent > 40 else theory[2] * (c2 / theory[1]) ** 1.5
    return c1, c2, max(c3, 1e-12)


def _mixed(c1: float, c2: float, c3: float, v: float) -> tuple[float, float]:
    """Variance and third cumulant of a value of these cumulants times a gamma variable of mean 1 and variance v."""
    return c2 * (1 + v) + c1**2 * v, c3 * (1 + 3 * v + 2 * v**2) + 6 * c1 * c2 * v * (
        1 + v
    ) + 2 * c1**3 * v**2


def _passed(
    rate: float, forget: float, dof: float, scale: float, shift: float, c1: float, left_out: float
) -> float:
    """The level that is passed this often per bucket. left_out: of the squared length, on average."""
    low, high = c1, c1 + 400 * scale * np.sqrt(2 * dof) + 400 * scale
    for _ in range(60):
        middle = (low + high) / 2
        step = np.sqrt(8 * forget * scale * (middle + left_out))
        raised = (middle + 0.583 * step - shift) / scale
        density = float(chi2_density(raised, dof)) / scale * 2 * forget * (middle - c1)
        passed = min(
            max(density, 0.0), float(chi2_tail(np.asarray((middle - shift) / scale), np.asarray(dof)))
        )
        low, high = (middle, high) if passed > rate else (low, middle)
    return float(high)
