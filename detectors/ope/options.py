"""How a candidate is to be judged: levels, margins, budgets and the limits of trust."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from detectors.ope.columns import Floats


@dataclass(frozen=True, slots=True)
class CostBudget:
    """A cost that must not exceed `budget` on average, per decision or per episode (discounted by gamma).

    ceiling: the most that one decision (or episode) can cost, for the bound where none was ever seen.
    """

    budget: float
    per: str = "decision"
    gamma: float = 1.0
    ceiling: float = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """Levels and limits of one evaluation.

    delta: every interval misses with at most this probability, half of it on either side.
    margin: by how much the candidate must beat the incumbent to be `better`, or fall short to be `worse`; below 0:
    by how much it may fall short and still be called better.
    clip, switch: weights where clipped IS clips and switch-DR switches.
    reward_range: what a reward (a discounted return, for episodes) can be. Without it finite-sample bounds
    assume the range seen, which is reported; a stream has none.
    logger_shares: see loggers.py; counted where the log names its loggers.
    tail: the lower tail's probability for quantile and CVaR. cvar_floor: refused where the CVaR's lower end
    lies below it.
    min_ess, max_weight_share, max_tail: beyond these a verdict is `unreliable`. least_ess: below it an
    estimate is withheld.
    folds, ridge: of fitted models. model_features: random features of FQE, 0 for a linear Q.
    horizon: the longest episode whose steps are kept apart. widening: factor on every interval, above 1
    where propensities had to be estimated.
    """

    candidate: str = "candidate"
    delta: float = 0.05
    margin: float = 0.0
    clip: float = 10.0
    switch: float = 10.0
    reward_range: tuple[float, float] | None = None
    logger_shares: Floats | None = None
    costs: Mapping[str, CostBudget] = field(default_factory=dict)
    tail: float = 0.1
    cvar_floor: float | None = None
    min_ess: float = 100.0
    least_ess: float = 10.0
    max_weight_share: float = 0.1
    max_tail: float = 0.7
    resamples: int = 999
    seed: int = 0
    folds: int = 5
    ridge: float = 1.0
    model_features: int = 0
    horizon: int = 1000
    widening: float = 1.0
