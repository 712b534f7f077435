"""Whether a window holds enough to be judged."""

from detectors.protocol import Plan, Window

LEAST_FILLED = 0.5


def why_too_little(window: Window, plan: Plan, n: int, what: str) -> str:
    """The reason why n rows of a window cannot be judged, empty where they can.

    The null of a baseline is that of whole windows: one that has only begun to fill sees a part of the day's
    cycle that no whole window shows, so less than half a window is unknown.
    """
    if n < plan.min_samples:
        return f"{n} {what} in the window, {plan.min_samples} needed"
    span_ms = window.now_ms - window.starts_ms[0] if len(window.starts_ms) else 0
    filled = span_ms / (plan.window_buckets * plan.bucket_ms)
    if filled < LEAST_FILLED:
        return f"the window is {filled:.0%} filled, {LEAST_FILLED:.0%} needed"
    return ""
