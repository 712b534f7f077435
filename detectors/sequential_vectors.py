"""The sequential tests of vectors: states whose means, spreads or correlations move, actions whose mix does."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detectors import action_mix, state_moments
from detectors.arrays import F64, I64
from detectors.cusum import Bank, fit_bank, noise
from detectors.ellipse import FEWEST_BUCKETS, Ellipse, fit_ellipse
from detectors.protocol import Baseline, Plan
from detectors.sequential import Named, Reading, Test

_FLAT = 1e-6  # of the largest variance: a direction in which the baseline never varied is none
_BANKED = 63  # actions with a sum of their own; the rest share one
_CELLS = 255
_BANK = 0.7  # of the price of the action test
# of a test's price: each feature's mean, each one's spread, all means together, all spreads, means in any direction,
# products in any direction
_FEATURE, _SPREAD, _COMMON, _TOTAL, _MEANS, _PRODUCTS = 0.35, 0.10, 0.125, 0.125, 0.15, 0.15


def state_test(baseline: Baseline, plan: Plan, per_bucket: float, features: Sequence[str]) -> Test | None:
    """From the series of `state_moments`; None where it is too short or no feature varies."""
    n, sums, products = (np.asarray(baseline.series[key], np.float64) for key in ("n", "sums", "products"))
    n, sums, products = _filled(n[:, 0], sums, products)
    if len(n) < FEWEST_BUCKETS:
        return None
    ratio, span = plan.bucket_ms / baseline.bucket_ms, _span(baseline, plan)
    size = float(n.mean()) * ratio
    mean = sums.sum(axis=0) / n.sum()
    axes = _axes(products.sum(axis=0) / n.sum() - np.outer(mean, mean))
    if axes.shape[1] == 0:
        return None

    def columns(n: F64, sums: F64, products: F64) -> tuple[F64, F64]:
        """(t, 2 p + 2) one number each, and (t, q (q + 1) / 2) products of white features."""
        cross = sums[:, :, None] * mean
        about = products - cross - np.swapaxes(cross, 1, 2) + n[:, None, None] * np.outer(mean, mean)
        white = axes.T @ about @ axes
        squares = np.diagonal(about, axis1=1, axis2=2)
        total = np.trace(white, axis1=1, axis2=2)
        both = np.column_stack([sums, squares, sums.sum(axis=1), total])
        upper = np.triu_indices(white.shape[1])
        return both, white[:, upper[0], upper[1]] / np.where(upper[0] == upper[1], np.sqrt(2.0), 1.0)

    each, pairs = columns(n, sums, products)
    width = sums.shape[1]
    price = (
        per_bucket / 2 * np.repeat([_FEATURE / width, _SPREAD / width, _COMMON, _TOTAL], [width, width, 1, 1])
    )
    bank = fit_bank(each, n, ratio, np.stack([price, price], axis=1), span)
    assert bank is not None
    means = _ellipse(sums, n, axes, size, ratio, span, per_bucket * _MEANS)
    spreads = _ellipse(pairs, n, np.ones(pairs.shape[1]), size, ratio, span, per_bucket * _PRODUCTS)

    def read(bucket: Mapping[str, Any], labels: Sequence[str]) -> Reading:
        one = [np.asarray(bucket[key], np.float64) for key in ("n", "sums", "products")]
        each, pairs = columns(one[0], one[1][None], one[2][None])
        return Reading(float(one[0][0]), [each[0], one[1], pairs[0]])

    known = [*features][:width] if width == len(features) else [f"direction {i}" for i in range(width)]
    names = [
        *known,
        *(f"spread of {name}" for name in known),
        "sum of all features",
        "spread of all features",
    ]
    charts = [
        _named(bank, "the state's", 0, names),
        _named(means, "the state's means have moved together", 1),
        _named(spreads, "the state's spreads or correlations have moved", 2),
    ]
    return Test("state_shift", state_moments.NAME, [one for one in charts if one is not None], read)


def action_test(baseline: Baseline, plan: Plan, per_bucket: float) -> Test | None:
    """From the series of `action_mix`: the share of each frequent action, and all shares together."""
    counts, n = (
        np.asarray(baseline.series["counts"], np.float64),
        np.asarray(baseline.series["n"], np.float64),
    )
    n, counts = _filled(n[:, 0], counts)
    if len(n) < FEWEST_BUCKETS:
        return None
    ratio, span = plan.bucket_ms / baseline.bucket_ms, _span(baseline, plan)
    names = _names(counts.shape[1], baseline.labels)
    order = np.argsort(-counts.sum(axis=0), kind="stable")
    order = order[counts.sum(axis=0)[order] > 0][:_CELLS]
    if len(order) < 2:
        return None
    place = {names[code]: i for i, code in enumerate(order.tolist())}
    banked = min(len(order), _BANKED)

    def cells(counts: F64, codes: I64) -> tuple[F64, F64]:
        """(t, <= 64) and (t, <= 256): frequent actions and one cell for all others."""
        wide = np.zeros((len(counts), len(order) + 1))
        np.add.at(wide.T, codes, counts.T)
        return np.column_stack([wide[:, :banked], wide[:, banked:].sum(axis=1)]), wide

    few, wide = cells(counts, _codes(names, place, len(order)))
    shares = np.sqrt(np.maximum(few.sum(axis=0), 1.0))
    price = per_bucket * _BANK / 2 * shares / shares.sum()
    bank = fit_bank(few, n, ratio, np.stack([price, price], axis=1), span)
    assert bank is not None
    size = float(n.mean()) * ratio
    scale = 1 / np.sqrt(np.maximum(wide.sum(axis=0), 1.0) / n.sum())
    everything = _ellipse(wide, n, scale, size, ratio, span, per_bucket * (1 - _BANK))

    def read(bucket: Mapping[str, Any], labels: Sequence[str]) -> Reading:
        held = np.asarray(bucket["counts"], np.float64)
        few, wide = cells(held[None], _codes(_names(len(held), labels), place, len(order)))
        return Reading(float(np.asarray(bucket["n"])[0]), [few[0], wide[0]])

    known = [names[code] for code in order[:banked].tolist()]
    charts = [
        _named(bank, "the share of", 0, [*known, "all other actions"]),
        _named(everything, "the action mix has moved", 1),
    ]
    return Test("action_shift", action_mix.NAME, [one for one in charts if one is not None], read)


def _named(chart: Bank | Ellipse | None, words: str, column: int, series: Sequence[str] = ()) -> Named | None:
    """None where the baseline gives no such chart."""
    return None if chart is None else Named(chart, words, series, column)


def _ellipse(
    sums: F64, n: F64, axes: F64, size: float, ratio: float, span: int, rate: float
) -> Ellipse | None:
    """axes: (p, q) or (p,) that make events nearly white; each direction is then scaled by its own long-run noise."""
    mean = sums.sum(axis=0) / n.sum()
    residuals = sums - n[:, None] * mean
    turned = residuals * axes if axes.ndim == 1 else residuals @ axes
    spread = np.sqrt(np.array([noise(column, n, span)[0] for column in turned.T]))
    widened = np.divide(axes, spread, out=np.zeros_like(axes), where=np.broadcast_to(spread > 0, axes.shape))
    white = (
        turned
        * np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
        / np.sqrt(float(n.mean()))
    )
    plain = (turned**2).mean(axis=0) / float(n.mean())
    inflation = float((spread**2).sum() / max(float(plain.sum()), 1e-300))
    return fit_ellipse(mean, widened / np.sqrt(size), size, white, float(n.sum()) / size, rate, inflation)


def _axes(covariance: F64) -> F64:
    """(p, q) directions in which the features are white."""
    values, vectors = np.linalg.eigh(covariance)
    varied = values > _FLAT * max(float(values[-1]), 1e-300)
    return np.asarray(vectors[:, varied] / np.sqrt(values[varied]))


def _filled(n: F64, *series: F64) -> tuple[F64, ...]:
    return n[n > 0], *(column[n > 0] for column in series)


def _span(baseline: Baseline, plan: Plan) -> int:
    return max(1, round(plan.window_buckets * plan.bucket_ms / baseline.bucket_ms))


def _names(width: int, labels: Sequence[str]) -> list[str]:
    return [labels[j] if j < len(labels) else f"#{j}" for j in range(width)]


def _codes(names: Sequence[str], place: Mapping[str, int], other: int) -> I64:
    return np.array([place.get(name, other) for name in names], dtype=np.int64)
