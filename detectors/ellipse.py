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
from detectors.laws import chi2_density, chi2_tail
from detectors.own_windows import raised
from detectors.quadratic_form import traces_of_scores

FORGETS: F64 = np.array([0.4, 0.12, 0.04])  # share of the sum that each bucket loses
FEWEST_BUCKETS = 60
_PAID = (
    0.5  # of its rate: what lines from a short baseline cost beyond their price (simulated: 1.5 to 2.5 times)
)
_DEPENDENT = 3.0
_HELD = 1.05
_ABOVE, _CLEAR = 1.02, 1.2  # of the largest of the baseline's own: where dependent, where theory is refuted
_REFUTED, _GROSS = 0.02, 1.25
_CORRELATED, _LOOKS, _LOOKS_CORRELATED = (
    1.1,
    12.0,
    50.0,
)  # theory is trusted only as far as residuals are independent


@dataclass(frozen=True, slots=True)
class Ellipse:
    """mean: (p,) per event. lines: (j,).

    turn: (p, q) makes residuals of a usual bucket of `size` events white; (p,) scales each by itself.
    """

    mean: F64
    turn: F64
    size: float
    forgets: F64
    lines: F64

    def white(self, sums: F64, n: F64 | float) -> F64:
        """(..., q) residuals of bucket sums (..., p); a bucket with more events than usual counts as a usual one."""
        n = np.asarray(n, dtype=np.float64)[..., None]
        residuals = (sums - n * self.mean) * np.minimum(1.0, self.size / n)
        return np.asarray(residuals * self.turn if self.turn.ndim == 1 else residuals @ self.turn)

    @property
    def zero(self) -> F64:
        """(j, q) the state before any bucket."""
        return np.zeros((len(self.forgets), self.turn.shape[-1]))

    def step(self, state: F64, sums: F64, n: float) -> F64:
        """(j, q) the fading sums after one more bucket of n > 0 events, held just past their lines.

        So that they fall again within their memory once the change has gone, however large it was.
        """
        moved = (1 - self.forgets[:, None]) * state + self.white(sums, n)
        beyond = (moved**2).sum(axis=1) / (_HELD * self.lines)
        return np.asarray(moved / np.sqrt(np.maximum(beyond, 1.0))[:, None])

    def severity(self, state: F64) -> float:
        """Squared length over its line, at the worst memory."""
        return float(((state**2).sum(axis=1) / self.lines).max())


def fit_ellipse(
    mean: F64, turn: F64, size: float, white: F64, rate: float, inflation: float = 1.0
) -> Ellipse | None:
    """None where the baseline is too short, for its autocorrelation, to show how far fading sums stray.

    white: (t, q) the baseline's own residuals from means that they took no part in. rate: false alarms per bucket.
    inflation: long-run over plain variance of the residuals.
    """
    worth = FORGETS * len(white) / inflation  # independent looks
    forgets = FORGETS[worth >= (_LOOKS if inflation <= _CORRELATED else _LOOKS_CORRELATED)]
    if len(forgets) == 0:
        return None
    theory = _normal(white)
    if inflation > _CORRELATED and any(_varies(forget, white, theory) > _DEPENDENT for forget in forgets):
        return None
    dependent, each = inflation > _CORRELATED, rate * _PAID / len(forgets)
    lines = np.array([_line(forget, white, theory, each, dependent) for forget in forgets])
    known = np.isfinite(lines)
    return Ellipse(mean, turn, size, forgets[known], lines[known]) if known.any() else None


def _normal(white: F64) -> F64:
    """(3,) cumulants of the squared length of one normal residual with the covariance that these show."""
    traces = traces_of_scores(white)
    return np.array([float(traces.c1), 2 * float(traces.c2), 8 * float(traces.c3)])


def _varies(forget: float, white: F64, theory: F64) -> float:
    """Variance of the squared lengths of fading sums over that of independent normal residuals.

    Products are heavy-tailed without being dependent; where residuals are correlated besides (episodes that repeat
    themselves), the tail of such sums is not known from a few of them.
    """
    return float(np.var(_squares(forget, white)) / (theory[1] / (1 - (1 - forget) ** 2) ** 2))


def _line(forget: float, white: F64, theory: F64, rate: float, dependent: bool) -> float:
    """By theory; where the baseline's own series goes beyond what theory allows it, by that series' own tail.

    None (inf) where it goes far beyond: sums of episodes that repeat themselves have no tail that half of them tells.
    """
    own = _squares(forget, white)
    c1, c2, c3 = _cumulants(forget, own, len(white), theory)
    dof = 8 * c2**3 / c3**2
    scale = np.sqrt(c2 / (2 * dof))
    shift = c1 - scale * dof
    line = _passed(rate, forget, dof, scale, shift, c1)
    allowed = _passed(_REFUTED / len(white), forget, dof, scale, shift, c1)
    if own.max() > _GROSS * allowed:
        return np.inf
    if own.max() <= allowed:
        return max(line, _ABOVE * float(own.max())) if dependent else line
    return max(line, float(raised(np.asarray(0.0), own, rate)), _CLEAR * float(own.max()))


def _squares(forget: float, white: F64) -> F64:
    """(t,) the squared length of the fading sum along a series."""
    state, found = np.zeros(white.shape[1]), np.empty(len(white))
    for i, row in enumerate(white):
        state = (1 - forget) * state + row
        found[i] = state @ state
    return found[min(int(2 / forget), len(white) // 4) :]


def _cumulants(forget: float, own: F64, length: int, normal: F64) -> tuple[float, float, float]:
    """Mean, variance and third cumulant: of normal residuals, or the series' own where they are larger.

    The error of the baseline's own mean adds 1 / (forget^2 length) per dimension to a fading sum's variance.
    """
    variance = 1 / (1 - (1 - forget) ** 2) + 1 / (forget**2 * length)
    theory = [float(cumulant) * variance ** (k + 1) for k, cumulant in enumerate(normal)]
    centred = own - own.mean()
    seen = [float(own.mean()), float((centred**2).mean()), float((centred**3).mean())]
    independent = (
        len(own) * forget / 2
    )  # what a slowly moving series is worth: its cumulants are trusted as far
    c1 = max(theory[0], seen[0])
    c2 = max(theory[1], seen[1]) if independent > 20 else theory[1]
    c3 = max(theory[2], seen[2]) if independent > 40 else theory[2] * (c2 / theory[1]) ** 1.5
    return c1, c2, max(c3, 1e-12)


def _passed(rate: float, forget: float, dof: float, scale: float, shift: float, c1: float) -> float:
    """The level that is passed this often per bucket."""
    low, high = c1, c1 + 400 * scale * np.sqrt(2 * dof) + 400 * scale
    for _ in range(60):
        middle = (low + high) / 2
        step = np.sqrt(8 * forget * scale * middle)
        raised = (middle + 0.583 * step - shift) / scale
        density = float(chi2_density(raised, dof)) / scale * 2 * forget * (middle - c1)
        passed = min(
            max(density, 0.0), float(chi2_tail(np.asarray((middle - shift) / scale), np.asarray(dof)))
        )
        low, high = (middle, high) if passed > rate else (low, middle)
    return float(high)
