"""FQE as an estimate that may be withheld, and as a cross-fitted critic for the doubly robust estimator."""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from detectors.ope.columns import Floats, Ints, TrajectoryLog
from detectors.ope.evaluation import Number
from detectors.ope.features import Features, features_of
from detectors.ope.intervals.interval import Withheld
from detectors.ope.options import Options
from detectors.ope.sequential.episodes import Episodes
from detectors.ope.sequential.fqe import (
    FqeSums,
    Transitions,
    fit,
    observe,
    predict,
    value_of,
)
from detectors.ope.totals import groups_of
from detectors.ope.verdict import Estimate

FOLDS = 10
MOST_OUTSIDE = (
    0.1  # of the states: more values beyond what rewards allow, and the model is not to be believed
)


@dataclass(frozen=True, slots=True)
class FqeResult:
    """estimate, diagnostics, and q, v (n,) at the rows of the episodes, None where the fit is not usable."""

    estimate: Estimate | Withheld
    diagnostics: dict[str, Number]
    q: Floats | None = None
    v: Floats | None = None


def transitions_of(episodes: Episodes) -> Transitions | None:
    """None where the log lacks states, actions or the candidate's distribution."""
    log: TrajectoryLog = episodes.log
    if log.state is None or log.action is None or log.candidate_probs is None or not episodes.count:
        return None
    following = np.arange(1, len(log) + 1)
    last = episodes.first + episodes.length - 1
    following[last] = -1
    known = np.ones(len(log), dtype=bool)
    if log.ended is not None:
        known[last] = log.ended[last]
    return Transitions(
        log.state, log.action, log.reward, log.candidate_probs, following, known, episodes.first
    )


def evaluate_fqe(data: Transitions, episodes: Episodes, options: Options) -> FqeResult:
    """Fits on all episodes and on all but each fold of them; withheld where a check fails.

    Interval: delete-a-group jackknife over folds (Quenouille 1956; Kott 2001) with t(folds - 1): the error of
    sampling, not of the model's form, which no interval of FQE shows.
    """
    log, gamma = episodes.log, episodes.log.gamma
    rng = np.random.default_rng(options.seed)
    features = features_of(data.state, options.model_features, rng)
    fold = groups_of(episodes.unit, episodes.count, 0) % FOLDS
    if episodes.count < 2 * FOLDS:
        return FqeResult(Withheld(f"{episodes.count} episodes do not fill {FOLDS} folds twice"), {})
    rows_of = [np.flatnonzero(fold[episodes.owner] == k) for k in range(FOLDS)]
    parts = [observe(data, rows_of[k], data.opening[fold == k], features) for k in range(FOLDS)]
    whole = sum(parts[1:], parts[0])
    fitted = fit(whole, gamma, options.ridge)
    diagnostics: dict[str, Number] = {"fqe_spectral_radius": fitted.radius}
    if fitted.diverges:
        return FqeResult(
            Withheld(f"FQE diverges: its error grows by {fitted.radius:.3g} per iteration"), diagnostics
        )
    q, v, values = _cross_fitted(data, rows_of, parts, whole, features, gamma, options)
    low, high = value_range(log.reward, gamma, int(episodes.length.max()))
    value = value_of(whole, fitted)
    outside = float(np.mean((q < low) | (q > high)))
    diagnostics |= {"fqe_outside_range": outside, **bellman(data, q, v, gamma)}
    if not low <= value <= high or outside > MOST_OUTSIDE:
        what = f"value {value:.4g}, {outside:.0%} of Q" if outside else f"value {value:.4g}"
        return FqeResult(
            Withheld(f"FQE leaves what rewards allow ({low:.4g} to {high:.4g}): {what}"), diagnostics
        )
    error = float(np.sqrt((FOLDS - 1) / FOLDS * np.square(values - values.mean()).sum()))
    half = float(stdtrit(FOLDS - 1, 1 - options.delta / 2)) * error
    return FqeResult(Estimate(value, value - half, value + half), diagnostics, q, v)


def value_range(reward: Floats, gamma: float, steps: int) -> tuple[float, float]:
    """The returns possible within `steps` steps of rewards as seen (n,)."""
    mass = float(np.sum(gamma ** np.arange(steps, dtype=np.float64)))
    least, most = float(reward.min()), float(reward.max())
    return min(least * mass, least, 0.0), max(most * mass, most, 0.0)


def bellman(data: Transitions, q: Floats, v: Floats, gamma: float) -> dict[str, Number]:
    """The Bellman residual r + gamma v(s') - q out of fold: mean, root mean square, variance explained.

    The noise of rewards is in it, so only the mean has to be near 0.
    """
    target = data.reward + gamma * np.where(data.following >= 0, v[data.following], 0.0)
    residual = (target - q)[data.known]
    spread = float(np.var(target[data.known]))
    return {
        "fqe_bellman_mean": float(residual.mean()),
        "fqe_bellman_rms": float(np.sqrt(np.mean(residual**2))),
        "fqe_bellman_r2": 1 - float(np.var(residual)) / spread if spread > 0 else None,
    }


def _cross_fitted(
    data: Transitions,
    rows_of: list[Ints],
    parts: list[FqeSums],
    whole: FqeSums,
    features: Features,
    gamma: float,
    options: Options,
) -> tuple[Floats, Floats, Floats]:
    """q, v (n,) from models that never saw the row's fold; values (folds,) of the log without each fold."""
    q, v = np.empty(len(data.reward)), np.empty(len(data.reward))
    values = np.empty(len(parts))
    for k, part in enumerate(parts):
        rest = whole - part
        model = fit(rest, gamma, options.ridge, radius=False)
        values[k] = value_of(rest, model)
        q[rows_of[k]], v[rows_of[k]] = predict(data, rows_of[k], features, model)
    return q, v, values
