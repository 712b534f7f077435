"""The sequential tests of vectors: states whose means, spreads or correlations move, actions whose mix does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from detectors.actions import mix as action_mix
from detectors.actions.table import ActionCodes, action_names
from detectors.arrays import F64, I64, Bool
from detectors.charts.correlations import Correlations, fit_correlations
from detectors.charts.cusum import Bank, fit_bank, noise
from detectors.charts.ellipse import FEWEST_BUCKETS, Ellipse, beyond_units, fit_ellipse, shortened
from detectors.charts.mix_ellipse import fit_mix
from detectors.features import moments as state_moments
from detectors.features.white_frame import folds, frame_of, left_out
from detectors.protocol import Baseline, Plan
from detectors.sequential.charted import Named, Reading, Test
from detectors.units.spreads import Effects
from detectors.units.units import ACTIONS, OPTION, STATES, ActionUnits, StateUnits

_BANKED = 63  # actions with a sum of their own; the rest share one
_CELLS = 255
_FEWEST_TAKEN = 50  # times in the baseline: the most popular of many rare actions are so by chance
_ODDS, _BANK = 0.2, 0.1  # of the price of the action test: where propensities are logged; of the rest
# What charts and window lines cost apart over what they ring together (simulated, 8 and 32 features, 5 to 200 actions).
_SPENT_STATES, _SPENT_ACTIONS = 1.19, 1.06
_HEAVY_TAILED = 0.4  # of their price is what lines for products of states are set at
# of a test's price: each feature's mean, each one's spread, all means together, all spreads, means in any direction,
# products in any direction, a few pairs of features
_FEATURE, _SPREAD, _COMMON, _TOTAL, _MEANS, _PRODUCTS, _PAIRS = 0.64, 0.03, 0.04, 0.04, 0.04, 0.04, 0.17


def state_test(baseline: Baseline, plan: Plan, per_bucket: float, features: Sequence[str]) -> Test | None:
    """From the series of `state_moments`; None where it is too short or no feature varies."""
    n, sums, products = (np.asarray(baseline.series[key], np.float64) for key in ("n", "sums", "products"))
    n, sums, products = _filled(n[:, 0], sums, products)
    if len(n) < FEWEST_BUCKETS:
        return None
    ratio, span = plan.bucket_ms / baseline.bucket_ms, _span(baseline, plan)
    all_of_it = np.ones(len(n), dtype=bool)
    frame = frame_of(n, sums, products, all_of_it)
    if frame.axes.shape[1] == 0:
        return None
    rank, width = frame.axes.shape[1], sums.shape[1]
    each = frame.columns(sums, frame.about(n, sums, products))
    units: StateUnits | None = plan.options.get(OPTION, {}).get(STATES)
    strays = None if units is None or units.width != width else units.columns(frame, each, n)
    alike = 1.0 if strays is None else float(strays.effect[:width].mean())
    own, longer = left_out(n, sums, products, rank, alike)
    frame = replace(frame, metric=frame.metric / longer)
    per_bucket *= _SPENT_STATES
    price = (
        per_bucket / 2 * np.repeat([_FEATURE / width, _SPREAD / width, _COMMON, _TOTAL], [width, width, 1, 1])
    )
    bank = fit_bank(
        each, n, ratio, np.stack([price, price], axis=1), span, [] if strays is None else strays.clustered()
    )
    assert bank is not None

    def white(train: Bool) -> tuple[F64, F64]:
        return sums, frame_of(n, sums, products, train, rank).axes

    def paired(train: Bool) -> tuple[F64, F64]:
        other = frame_of(n, sums, products, train, rank)
        pairs = other.pairs(other.about(n, sums, products))
        return pairs, np.ones(pairs.shape[1])

    of_means, of_pairs, unsteady = None, None, 0.0
    if units is not None and strays is not None:
        of_means = units.means(frame, sums, n)
        of_pairs = units.pairs(frame, paired(all_of_it)[0], n)
        unsteady = strays.unsteady(rank, float(n.mean()))
    means = _ellipse(white, n, ratio, span, per_bucket * _MEANS, of_means, unsteady=unsteady)
    spreads = _ellipse(paired, n, ratio, span, per_bucket * _PRODUCTS * _HEAVY_TAILED, of_pairs, apart=True)
    pairs = fit_correlations(paired(all_of_it)[0], own, n, ratio, span, per_bucket * _PAIRS, of_pairs)

    def read(bucket: Mapping[str, Any], labels: Sequence[str]) -> Reading:
        one = [np.asarray(bucket[key], np.float64) for key in ("n", "sums", "products")]
        sums, about = one[1][None], frame.about(one[0], one[1][None], one[2][None])
        found = frame.pairs(about)[0] if spreads is not None or pairs is not None else np.empty(0)
        return Reading(float(one[0][0]), [frame.columns(sums, about)[0], one[1], found])

    known = [*features][:width] if width == len(features) else [f"direction {i}" for i in range(width)]
    names = [
        *known,
        *(f"spread of {name}" for name in known),
        "sum of all features",
        "spread of all features",
    ]
    # Where some features never vary by themselves, white directions are not theirs, and have no names.
    together = [(a, b) for a, b in combinations_with_replacement(known, 2)] if rank == width else []
    squares = [f"{a} with {b}" if a != b else f"spread of {a}" for a, b in together]
    crossed = [f"{a} with {b}" for a, b in together if a != b]
    charts = [
        _named(bank, "the state's", 0, names, "sd"),
        _named(means, "the state's means have moved", 1),
        _named(spreads, "the state's spreads or correlations have moved", 2, squares, "correlation"),
        _named(pairs, "some of the state's features have become correlated", 2, crossed, "correlation"),
    ]
    return Test("state_shift", state_moments.NAME, [one for one in charts if one is not None], read)


def action_test(baseline: Baseline, plan: Plan, per_bucket: float) -> Test | None:
    """From the series of `action_mix`: the share of each frequent action, and all shares together."""
    counts, n = (
        np.asarray(baseline.series["counts"], np.float64),
        np.asarray(baseline.series["n"], np.float64),
    )
    weights = np.asarray(baseline.series["weights"], np.float64)
    n, counts, weights = _filled(n[:, 0], counts, weights)
    if len(n) < FEWEST_BUCKETS:
        return None
    ratio, span = plan.bucket_ms / baseline.bucket_ms, _span(baseline, plan)
    names = action_names(counts.shape[1], baseline.labels)
    order = np.argsort(-counts.sum(axis=0), kind="stable")
    order = order[counts.sum(axis=0)[order] > 0][:_CELLS]
    if len(order) < 2:
        return None
    place = {names[code]: i for i, code in enumerate(order.tolist())}
    banked = min(int((counts.sum(axis=0)[order] >= _FEWEST_TAKEN).sum()), _BANKED)

    def cells(counts: F64, codes: I64) -> tuple[F64, F64]:
        """(t, <= 64) and (t, <= 256): frequent actions and one cell for all others."""
        wide = np.zeros((len(counts), len(order) + 1))
        np.add.at(wide.T, codes, counts.T)
        return np.column_stack([wide[:, :banked], wide[:, banked:].sum(axis=1)]), wide

    codes = ActionCodes(place, len(order))
    few, wide = cells(counts, codes.of(counts.shape[1], baseline.labels))
    shares = np.sqrt(np.maximum(few.sum(axis=0), 1.0))
    per_bucket *= _SPENT_ACTIONS
    odds, usual = _odds(weights, n, ratio, span, per_bucket * _ODDS)
    if odds is not None:
        per_bucket *= 1 - _ODDS
    price = per_bucket * _BANK / 2 * shares / shares.sum()
    units: ActionUnits | None = plan.options.get(OPTION, {}).get(ACTIONS)
    of_few, of_all = (None, None) if units is None else units.strays(order, banked, few, wide, n)
    known = [] if of_few is None else of_few.clustered()
    bank = fit_bank(few, n, ratio, np.stack([price, price], axis=1), span, known)
    assert bank is not None

    rest = np.delete(counts.sum(axis=0), order)
    lumped = float((rest * (rest - 1)).sum() / (n.sum() * (n.sum() - 1)))
    everything = fit_mix(wide, n, ratio, span, per_bucket * (1 - _BANK), lumped, of_all)

    def read(bucket: Mapping[str, Any], labels: Sequence[str]) -> Reading:
        held = np.asarray(bucket["counts"], np.float64)
        few, wide = cells(held[None], codes.of(len(held), labels))
        events = float(np.asarray(bucket["n"])[0])
        weight = _filled_up(np.asarray(bucket["weights"], np.float64)[None], np.array([events]), usual)
        return Reading(events, [few[0], wide[0], weight])

    named = [names[code] for code in order[:banked].tolist()]
    charts = [
        _named(bank, "the share of action", 0, [*named, "(all others)"], "share"),
        _named(
            everything,
            "the action mix has moved",
            1,
            [*(names[code] for code in order.tolist()), "(all others)"],
            "share",
        ),
        _named(
            odds, "the logged propensities do not fit the actions taken: the", 2, ["mean of 1 / propensity"]
        ),
    ]
    return Test("action_shift", action_mix.NAME, [one for one in charts if one is not None], read)


def _named(
    chart: Bank | Ellipse | Correlations | None,
    words: str,
    column: int,
    series: Sequence[str] = (),
    units: str = "value",
) -> Named | None:
    """None where the baseline gives no such chart."""
    return None if chart is None else Named(chart, words, series, column, units)


def _odds(weights: F64, n: F64, ratio: float, span: int, rate: float) -> tuple[Bank | None, float]:
    """A bank over sums of 1 / propensity, whose mean is the number of actions on offer while the log is true.

    weights: (t, 3) count, sum and sum of squares per bucket. The usual mean is the second value.
    """
    if not weights[:, 0].sum() >= _FEWEST_TAKEN:
        return None, 0.0
    usual = float(weights[:, 1].sum() / weights[:, 0].sum())
    sums = _filled_up(weights, n, usual)
    return fit_bank(sums[:, None], n, ratio, np.array([[rate / 2, rate / 2]]), span), usual


def _filled_up(weights: F64, n: F64, usual: float) -> F64:
    """(t,) sums of 1 / propensity where decisions without one count as usual ones."""
    return np.asarray(weights[:, 1] + (n - weights[:, 0]) * usual)


def _ellipse(
    model: Callable[[Bool], tuple[F64, F64]],
    n: F64,
    ratio: float,
    span: int,
    rate: float,
    units: Effects | None = None,
    apart: bool = False,
    unsteady: float = 0.0,
) -> Ellipse | None:
    """model: from the buckets (t,) that it may learn from to sums (t, p) of all, and the axes (p, q) or (p,).

    Axes make events nearly white; each direction is then scaled by its own long-run noise. What
    a fading sum of the baseline shows is measured in fifths that the axes and means were not learnt from.
    """
    sums, axes = model(np.ones(len(n), dtype=bool))
    mean, size = sums.sum(axis=0) / n.sum(), float(n.mean()) * ratio
    turned = _turned(sums - n[:, None] * mean, axes)
    effect = np.ones(turned.shape[1]) if units is None else units.effect
    plain = (turned**2).mean(axis=0) / float(n.mean()) * effect
    variance, dof = np.array([noise(column, n, span) for column in turned.T]).T
    spread = np.sqrt(np.where(effect > 1, np.maximum(variance, plain), variance))
    inflation = float(variance.sum()) / max(float(plain.sum()), 1e-300)
    if (effect > 1).any():
        inflation = beyond_units(inflation, dof)
    narrow = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    own = turned * narrow / np.sqrt(float(n.mean()))
    radius = float(np.median(np.sqrt((own**2).sum(axis=1)))) if apart else np.inf
    white = np.empty(turned.shape)
    for train in folds(len(n)):
        fold = ~train
        seen, turn = model(train)
        mean_of_rest = seen[train].sum(axis=0) / n[train].sum()
        scaled = _turned(seen - n[:, None] * mean_of_rest, turn) * narrow / np.sqrt(float(n.mean()))
        scaled = shortened(scaled, radius)
        white[fold] = scaled[fold] - scaled[train].mean(axis=0)
    centre = shortened(own, radius).mean(axis=0)
    between, of_mean = None, 1.0
    if units is not None and len(units.rows):
        between, of_mean = units.rows * narrow * np.sqrt(len(units.rows)), float(units.of_mean.mean())
    return fit_ellipse(
        mean,
        axes * narrow / np.sqrt(size),
        size,
        white,
        rate,
        inflation,
        apart,
        radius,
        centre,
        between,
        of_mean,
        unsteady,
    )


def _turned(residuals: F64, axes: F64) -> F64:
    return np.asarray(residuals * axes if axes.ndim == 1 else residuals @ axes)


def _filled(n: F64, *series: F64) -> tuple[F64, ...]:
    return n[n > 0], *(column[n > 0] for column in series)


def _span(baseline: Baseline, plan: Plan) -> int:
    return max(1, round(plan.window_buckets * plan.bucket_ms / baseline.bucket_ms))
