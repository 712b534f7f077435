"""The level of one look that keeps a rate of false breaches per day."""

from detectors.inference.laws import normal_quantile

DAY_MS = 86_400_000


def level_per_look(false_per_day: float, window_ms: int, window_buckets: int, tests: int = 1) -> float:
    """The tail probability of a single look at a sliding window, for `tests` statistics that share the rate.

    Overlapping windows do not pay for every look and pay for more than one per window: a squared normal process
    with correlation 1 - |t| / window crosses a high level 2 z^2 times as often per window as its single-look
    tail (Aldous 1989, C23; Siegmund 1985, ch. 11), never more often than it is looked at. The price over tests
    is Bonferroni's, which holds for any dependence between features.
    """
    per_window = false_per_day * window_ms / DAY_MS / max(tests, 1)
    level = min(per_window, 0.05)
    for _ in range(20):
        clumps = min(float(window_buckets), max(1.0, 2.0 * float(normal_quantile(level)) ** 2))
        level = min(per_window / clumps, 0.05)
    return max(level, 1e-15)
