"""An anytime-valid confidence sequence for importance-weighted rewards: look as often as you like."""

from dataclasses import dataclass

import numpy as np

from detectors.ope.columns import Floats

LARGEST_BET = 0.5


@dataclass(frozen=True, slots=True)
class Wealth:
    """Log-wealth of a bettor against every mean at once, for gains and for losses; arrays (2,).

    log wealth against the mean m = sum(bet X) - m sum(bet) - sum(psi(bet) (X - guess)^2). Bets depend on
    earlier rows only, so the sums of two shards, each betting on its own past, may be added.
    """

    n: float
    total: Floats
    squares: Floats
    bets: Floats
    bet_total: Floats
    penalty: Floats
    delta: float

    def __add__(self, other: "Wealth") -> "Wealth":
        if self.delta != other.delta:
            raise ValueError(f"bets were placed for delta {self.delta} and {other.delta}")
        return Wealth(
            self.n + other.n,
            self.total + other.total,
            self.squares + other.squares,
            self.bets + other.bets,
            self.bet_total + other.bet_total,
            self.penalty + other.penalty,
            self.delta,
        )

    def observe(self, gains: Floats) -> "Wealth":
        """After more rows, in order: gains (2, n), not negative, with means of at most 1.

        Bets: predictable plug-in, min(1/2, sqrt(2 ln(1/d) / (variance so far * t ln(1 + t)))) (Waudby-Smith
        & Ramdas 2024, eq. 15). What is bet on may be unbounded above as long as the guess is at most 1
        (Waudby-Smith, Wu, Ramdas, Karampatziakis & Mineiro 2024, proposition 1; Fan et al. 2015, eq. 4.11).
        """
        rows = gains.shape[1]
        if rows == 0:
            return self
        t = self.n + np.arange(1, rows + 1)
        sums = np.concatenate([self.total[:, None], gains], axis=1).cumsum(axis=1)
        guess = np.minimum((0.5 + sums[:, :-1]) / t, 1.0)
        off = np.square(gains - guess)
        squares = np.concatenate([self.squares[:, None], off], axis=1).cumsum(axis=1)
        variance = (0.25 + squares[:, :-1]) / t
        rate = 2 * np.log(2 / self.delta) / (t * np.log1p(t))
        bet = np.minimum(np.sqrt(rate / variance), LARGEST_BET)
        penalty = off * (-np.log1p(-bet) - bet)
        return Wealth(
            self.n + rows, sums[:, -1], squares[:, -1], self.bets + bet.sum(axis=1),
            self.bet_total + (bet * gains).sum(axis=1), self.penalty + penalty.sum(axis=1), self.delta,
        )  # fmt: skip


def start(delta: float) -> Wealth:
    """No rows yet; delta is two-sided, delta / 2 for each bound, at all times together."""
    zero = np.zeros(2)
    return Wealth(0.0, zero, zero, zero, zero, zero, delta)


def value_gains(weight: Floats, x: Floats) -> Floats:
    """(2, n) w x and w (1 - x), with means value and 1 - value: x (n,) is the reward scaled to [0, 1]."""
    return np.stack([weight * x, weight * (1 - x)])


def difference_gains(weight: Floats, x: Floats) -> Floats:
    """(2, n) (1 + (w - 1) x) / 2 and the same of 1 - x: with means (1 + d) / 2 and (1 - d) / 2.

    d is candidate minus incumbent, scaled like x. As w >= 0 and x <= 1 neither is negative, and as E[w] = 1
    the losses' difference is minus the gains': a bound from below for each gives both ends.
    """
    return np.stack([1 + (weight - 1) * x, 1 + (weight - 1) * (1 - x)]) / 2


def confidence_sequence(wealth: Wealth) -> tuple[float, float]:
    """Bounds (lower, upper) in [0, 1] of the mean gain: all looks together miss it with probability <= delta.

    The means against which the wealth stays below 2/delta (Ville 1939; Howard, Ramdas, McAuliffe & Sekhon
    2021, theorem 4, in the betting form of Waudby-Smith & Ramdas 2024, theorem 2).
    """
    if wealth.n < 1:
        return 0.0, 1.0
    edge = (wealth.bet_total - wealth.penalty - np.log(2 / wealth.delta)) / wealth.bets
    return max(0.0, float(edge[0])), min(1.0, 1.0 - float(edge[1]))
