"""How many rare events a window may hold, given how many the baseline held."""

import numpy as np

from detectors.arrays import F64
from detectors.inference.laws import negative_binomial_quantile
from detectors.inference.long_run_covariance import long_run_scores


def most_expected(
    level: float, count: F64, n: float, baseline_n: float, effect: F64, unseen: float = 1.0
) -> F64:
    """The count (...) that n rows exceed with probability at most `level`, after `count` in baseline_n rows.

    The predictive law of a Poisson rate under a flat prior is negative binomial (Gelman et al., BDA3, 2.6), so
    a baseline without any such event still gives a line. effect: design effect by which both counts are clustered.
    unseen: events that the baseline could not show but has made room for. Beyond each extreme of n rows lies a share
    of 1 / (n + 1) on average, with a geometric number of future rows (Wilks 1942): one for each end of a range.
    """
    line = negative_binomial_quantile(level, count / effect + unseen, baseline_n / (baseline_n + n))
    return np.asarray(line * effect)


def log_chance_of_none(count: F64, n: F64 | float, baseline_n: float, effect: F64) -> F64:
    """ln P(no event in n rows | `count` in baseline_n rows), the same law."""
    return np.asarray(-count / effect * np.log1p(n / baseline_n))


def count_effects(counts: F64, n: F64, window: float) -> F64:
    """(...), at least 1: long-run variance of counts (T, ...) over n (T,) rows in units of independent rows'."""
    share = counts.sum(axis=0) / n.sum()
    independent = share * (1 - share)
    measured = (long_run_scores(counts, n, window) ** 2).mean(axis=0)
    return np.maximum(
        np.where(independent > 0, measured / np.where(independent > 0, independent, 1.0), 1.0), 1.0
    )
