"""The sequential tests of vectors: states whose means, spreads or correlations move, actions whose mix does."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from detectors import action_mix, state_moments
from detectors.action_table import ActionCodes, action_names
from detectors.arrays import F64, I64, Bool
from detectors.correlations import Correlations, fit_correlations
from detectors.cusum import Bank, fit_bank, noise
from detectors.ellipse import FEWEST_BUCKETS, Ellipse, fit_ellipse, shortened
from detectors.mix_ellipse import fit_mix
from detectors.protocol import Baseline, Plan
from detectors.sequential import Named, Reading, Test

_FLAT = 1e-6  # of the largest variance: a direction in which the baseline never varied is none
_BANKED = 63  # actions with a sum of their own; the rest share one
_CELLS = 255
_FEWEST_TAKEN = 50  # times in the baseline: the most popular of many rare actions are so by chance
_FOLDS = 5
_LONGEST = 2.0  # times what independent rows say
_ODDS, _BANK = 0.2, 0.1  # of the price of the action test: where propensities are logged; of the rest
# What charts and window lines cost apart over what they ring together (simulated, 8 and 32 features, 5 to 200 actions).
_SPENT = 1.06
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
    frame = _frame(n, sums, products, all_of_it)
    if frame.axes.shape[1] == 0:
        return None
    rank, width = frame.axes.shape[1], sums.shape[1]
    own, longer = _left_out(n, sums, products, rank)
    each = frame.columns(sums, frame.about(n, sums, products))
    frame = replace(frame, metric=frame.metric / longer)
    per_bucket *= _SPENT
    price = (
        per_bucket / 2 * np.repeat([_FEATURE / width, _SPREAD / width, _COMMON, _TOTAL], [width, width, 1, 1])
    )
    bank = fit_bank(each, n, ratio, np.stack([price, price], axis=1), span)
    assert bank is not None

    def white(train: Bool) -> tuple[F64, F64]:
        return sums, _frame(n, sums, products, train, rank).axes

    def paired(train: Bool) -> tuple[F64, F64]:
        other = _frame(n, sums, products, train, rank)
        pairs = other.pairs(other.about(n, sums, products))
        return pairs, np.ones(pairs.shape[1])

    means = _ellipse(white, n, ratio, span, per_bucket * _MEANS)
    spreads = _ellipse(paired, n, ratio, span, per_bucket * _PRODUCTS * _HEAVY_TAILED, apart=True)
    pairs = fit_correlations(paired(all_of_it)[0], own, n, ratio, span, per_bucket * _PAIRS)

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
    per_bucket *= _SPENT
    odds, usual = _odds(weights, n, ratio, span, per_bucket * _ODDS)
    if odds is not None:
        per_bucket *= 1 - _ODDS
    price = per_bucket * _BANK / 2 * shares / shares.sum()
    bank = fit_bank(few, n, ratio, np.stack([price, price], axis=1), span)
    assert bank is not None

    rest = np.delete(counts.sum(axis=0), order)
    lumped = float((rest * (rest - 1)).sum() / (n.sum() * (n.sum() - 1)))
    everything = fit_mix(wide, n, ratio, span, per_bucket * (1 - _BANK), lumped)

    def read(bucket: Mapping[str, Any], labels: Sequence[str]) -> Reading:
        held = np.asarray(bucket["counts"], np.float64)
        few, wide = cells(held[None], codes.of(len(held), labels))
        events = float(np.asarray(bucket["n"])[0])
        weight = _filled_up(np.asarray(bucket["weights"], np.float64)[None], np.array([events]), usual)
        return Reading(events, [few[0], wide[0], weight])

    known = [names[code] for code in order[:banked].tolist()]
    charts = [
        _named(bank, "the share of action", 0, [*known, "(all others)"], "share"),
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
    apart: bool = False,
) -> Ellipse | None:
    """model: from the buckets (t,) that it may learn from to sums (t, p) of all, and the axes (p, q) or (p,).

    Axes make events nearly white; each direction is then scaled by its own long-run noise. What
    a fading sum of the baseline shows is measured in fifths that the axes and means were not learnt from.
    """
    sums, axes = model(np.ones(len(n), dtype=bool))
    mean, size = sums.sum(axis=0) / n.sum(), float(n.mean()) * ratio
    turned = _turned(sums - n[:, None] * mean, axes)
    spread = np.sqrt(np.array([noise(column, n, span)[0] for column in turned.T]))
    plain = float((turned**2).mean(axis=0).sum()) / float(n.mean())
    inflation = float((spread**2).sum()) / max(plain, 1e-300)
    narrow = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    own = turned * narrow / np.sqrt(float(n.mean()))
    radius = float(np.median(np.sqrt((own**2).sum(axis=1)))) if apart else np.inf
    white = np.empty(turned.shape)
    for train in _folds(len(n)):
        fold = ~train
        seen, turn = model(train)
        mean_of_rest = seen[train].sum(axis=0) / n[train].sum()
        scaled = _turned(seen - n[:, None] * mean_of_rest, turn) * narrow / np.sqrt(float(n.mean()))
        scaled = shortened(scaled, radius)
        white[fold] = scaled[fold] - scaled[train].mean(axis=0)
    centre = shortened(own, radius).mean(axis=0)
    return fit_ellipse(
        mean, axes * narrow / np.sqrt(size), size, white, rate, inflation, apart, radius, centre
    )


def _folds(length: int) -> Iterator[Bool]:
    """(length,) all but each fifth, in order."""
    for fold in np.array_split(np.arange(length), _FOLDS):
        train = np.ones(length, dtype=bool)
        train[fold] = False
        yield train


def _turned(residuals: F64, axes: F64) -> F64:
    return np.asarray(residuals * axes if axes.ndim == 1 else residuals @ axes)


@dataclass(frozen=True, slots=True)
class _Frame:
    """mean: (p,) of the features. axes: (p, q) directions in which they are white. metric: (p, p) of squared length.

    outer: (p, p) mean times mean. upper: the pairs of q directions.
    """

    mean: F64
    axes: F64
    metric: F64
    outer: F64
    upper: tuple[I64, I64]

    @classmethod
    def of(cls, mean: F64, axes: F64) -> "_Frame":
        return cls(mean, axes, axes @ axes.T, np.outer(mean, mean), np.triu_indices(axes.shape[1]))

    def about(self, n: F64, sums: F64, products: F64) -> F64:
        """(t, p, p) products about the mean."""
        cross = sums[:, :, None] * self.mean
        about = products - cross
        about -= np.swapaxes(cross, 1, 2)
        about += n[:, None, None] * self.outer
        return np.asarray(about)

    def columns(self, sums: F64, about: F64) -> F64:
        """(t, 2 p + 2): sums, squares about the mean, the sum over all features, the squared white length."""
        total = np.einsum("tij,ij->t", about, self.metric)
        squares = np.diagonal(about, axis1=1, axis2=2)
        return np.concatenate([sums, squares, sums.sum(axis=1)[:, None], total[:, None]], axis=1)

    def pairs(self, about: F64) -> F64:
        """(t, q (q + 1) / 2) products of white features."""
        white = self.axes.T @ about @ self.axes
        return np.asarray(white[:, self.upper[0], self.upper[1]])


def _left_out(n: F64, sums: F64, products: F64, rank: int) -> tuple[F64, float]:
    """(t, q (q + 1) / 2) products of features that are white by the other buckets, and how much longer such rows are.

    White axes are shortest for the rows that they were learnt from: of 32 features and 2,000 rows the mean squared
    length of all others is 2 % more, which rang 30 times as often as was paid for. Fifths that
    differ by more than twice what independent rows would (rank + 3 over their number) are seasons, which all rows show.
    """
    pairs, length = [], 0.0
    for train in _folds(len(n)):
        part, fold = _frame(n, sums, products, train, rank), ~train
        about = part.about(n[fold], sums[fold], products[fold])
        pairs.append(part.pairs(about))
        length += float((about.sum(axis=0) * part.metric).sum())
    longer = (1 - 1 / _FOLDS) * (length / (rank * float(n.sum())) - 1)
    return np.concatenate(pairs), 1 + min(max(longer, 0.0), _LONGEST * (rank + 3) / float(n.sum()))


def _frame(n: F64, sums: F64, products: F64, train: Bool, rank: int = 0) -> _Frame:
    """From some buckets; the `rank` widest directions, all that vary where it is 0.

    Where all vary, each white direction is the nearest to its feature (Kessy, Lewin & Strimmer, The American
    Statistician 2018: ZCA), so that a pair of features that becomes correlated is one of two directions.
    """
    total = n[train].sum()
    mean = sums[train].sum(axis=0) / total
    values, vectors = np.linalg.eigh(products[train].sum(axis=0) / total - np.outer(mean, mean))
    kept = rank or int((values > _FLAT * max(float(values[-1]), 1e-300)).sum())
    values, vectors = values[len(values) - kept :], vectors[:, len(values) - kept :]
    axes = vectors / np.sqrt(np.maximum(values, 1e-12))
    return _Frame.of(mean, np.asarray(axes @ vectors.T if kept == len(mean) else axes))


def _filled(n: F64, *series: F64) -> tuple[F64, ...]:
    return n[n > 0], *(column[n > 0] for column in series)


def _span(baseline: Baseline, plan: Plan) -> int:
    return max(1, round(plan.window_buckets * plan.bucket_ms / baseline.bucket_ms))
