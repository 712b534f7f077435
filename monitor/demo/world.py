"""The demo's world: readers of a home page, what they like, and the moment at which their tastes turn round."""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64, I64, Bool

SHELVES = ("news", "sport", "film", "music", "games", "food")
"""The actions: which shelf stands on top of the page."""
FEATURES = tuple(f"reads_{shelf}" for shelf in SHELVES)
"""The state: how much a reader has looked at each shelf lately, in standard deviations."""

_POPULARITY = (0.55, 0.35, 0.15, -0.85, -1.15, -1.45)  # log-odds of a click that do not depend on the reader
_LIKES_WHAT_THEY_READ = 1.15
_QUIRKS = 0.35  # what else a reader's habits say about a shelf
_DELAY_MEDIAN_MS, _DELAY_SPREAD, _DELAY_MOST_MS = 500.0, 0.5, 1_900


@dataclass(frozen=True, slots=True)
class World:
    """popularity: (shelves,). tastes: (shelves, features). Both in log-odds of a click."""

    popularity: F64
    tastes: F64

    def readers(self, n: int, rng: np.random.Generator) -> F64:
        """(n, features) states of the next readers, rounded as they are written; the change leaves them alone."""
        return np.round(rng.normal(size=(n, len(FEATURES))), 3)

    def appeal(self, states: F64, changed: bool | Bool = False) -> F64:
        """(n, shelves) probability of a click. After the change readers want the opposite of what they have read."""
        sign = np.where(np.broadcast_to(changed, len(states)), -1.0, 1.0)[:, None]
        odds: F64 = self.popularity + sign * (states @ self.tastes.T)
        return 1.0 / (1.0 + np.exp(-odds))

    def clicks(self, states: F64, shelves: I64, changed: bool | Bool, rng: np.random.Generator) -> F64:
        """(n,) the rewards: 1.0 for a click, else 0.0."""
        chance = self.appeal(states, changed)[np.arange(len(shelves)), shelves]
        return (rng.random(len(shelves)) < chance).astype(np.float64)

    def delays_ms(self, n: int, rng: np.random.Generator) -> I64:
        """(n,) how long after the decision the reward is known."""
        drawn = rng.lognormal(np.log(_DELAY_MEDIAN_MS), _DELAY_SPREAD, n)
        return np.minimum(drawn, _DELAY_MOST_MS).astype(np.int64)


def make_world(rng: np.random.Generator) -> World:
    """One world of many: which shelves are popular, and the readers' quirks, are drawn."""
    size = len(SHELVES)
    tastes = _LIKES_WHAT_THEY_READ * np.eye(size) + _QUIRKS * rng.normal(size=(size, size))
    return World(rng.permutation(np.array(_POPULARITY)), tastes)
