"""The page of an off-policy evaluation: the verdict, every interval, how the weights lie, what a cost would be."""

from collections.abc import Mapping
from html import escape

import numpy as np

from detectors.arrays import F64
from detectors.ope import CoverageRecord, Estimate, Evaluation, Outcome, Withheld
from monitor.pages.chart import Frame, rect, stroke, text
from monitor.pages.page import page

ROW = 30
BINS = 40


def render(
    found: Evaluation, weights: F64, outcome: Outcome | None = None, record: CoverageRecord | None = None
) -> str:
    """One self-contained page; weights: (n,) importance weights of the usable decisions. outcome: where it ran."""
    parts = [
        _head(found), _scored(outcome, record), _intervals(found), _weights(weights), _table("Bounds", found.bounds),
        _table("Lower tail", found.tail), _costs(found), _diagnostics(found),
    ]  # fmt: skip
    body = "".join(parts)
    return page(f"policywatch: {found.candidate}", body)


def _head(found: Evaluation) -> str:
    title = f"{found.candidate}: {found.verdict}, {found.comparison}{', refused' if found.refused else ''}"
    more = f"<p>About {found.more_data:,} more rows would settle it.</p>" if found.more_data else ""
    return f"<h1>{escape(title)}</h1><p>{escape(found.reason)}</p>{more}"


def _scored(outcome: Outcome | None, record: CoverageRecord | None) -> str:
    """What came of the prediction, and of those before it."""
    words = []
    if outcome is not None:
        held = "holds" if outcome.covered else "misses"
        words.append(
            f"It ran, and earned {outcome.realised:.5g} ± {outcome.error:.2g}: the interval {held} that."
        )
    if record is not None and record.total:
        words.append(f"Predicted intervals have held {record.covered} of {record.total} times.")
    return f"<p>{' '.join(words)}</p>" if words else ""


def _table(title: str, estimates: Mapping[str, Estimate | Withheld]) -> str:
    rows = ""
    for name, e in estimates.items():
        said = e.reason if isinstance(e, Withheld) else f"{e.value:.5g} ({e.lower:.5g} to {e.upper:.5g})"
        rows += f"<tr><td>{escape(name)}</td><td>{escape(said)}</td></tr>"
    return f"<h2>{title}</h2><table>{rows}</table>" if rows else ""


def _intervals(found: Evaluation) -> str:
    named = {"incumbent": found.incumbent, "difference": found.difference, **found.estimates}
    known = {name: e for name, e in named.items() if isinstance(e, Estimate)}
    withheld = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(e.reason)}</td></tr>"
        for name, e in named.items()
        if isinstance(e, Withheld)
    )
    table = f"<h2>Withheld</h2><table>{withheld}</table>" if withheld else ""
    return f"<h2>Estimates, with their intervals</h2><figure>{_forest(known)}</figure>{table}"


def _forest(known: Mapping[str, Estimate]) -> str:
    if not known:
        return "<p>none</p>"
    low, high = min(e.lower for e in known.values()), max(e.upper for e in known.values())
    frame = Frame(
        low, high, 0, len(known), height=ROW * len(known) + 70, inset_left=130, inset_right=150, inset_top=12
    )
    ticks = [(x, f"{x:.4g}") for x in (low, (low + high) / 2, high)]
    parts = [frame.axes((), ticks, "value per decision, or return per episode")]
    for row, (name, e) in enumerate(known.items()):
        y = frame.y(len(known) - row - 0.5)
        parts.append(stroke(f"M{frame.x(e.lower):.1f} {y:.1f}H{frame.x(e.upper):.1f}", "--learned", 2))
        parts.append(rect(frame.x(e.value) - 3, y - 5, 6, 10, "--ink"))
        parts.append(text(frame.inset_left - 10, y + 4, name, anchor="end", kind="ink"))
        parts.append(text(frame.width - frame.inset_right + 12, y + 4, f"{e.value:.5g}"))
    return frame.svg("".join(parts), "estimates and their intervals")


def _weights(weights: F64) -> str:
    if not len(weights):
        return ""
    counts, edges = np.histogram(weights, bins=BINS)
    heights = np.log10(1 + counts)
    frame = Frame(
        float(edges[0]), float(edges[-1]), 0, float(heights.max()), height=240, inset_top=12, inset_left=72
    )
    bars = "".join(
        rect(
            frame.x(a),
            frame.y(h),
            frame.x(b) - frame.x(a) - 1,
            frame.bottom - frame.y(h),
            "--learned",
            f"{n:,}",
        )
        for a, b, h, n in zip(edges[:-1], edges[1:], heights, counts, strict=True)
    )
    ys = [(float(np.log10(1 + n)), f"{n:,}") for n in (1, int(counts.max()))]
    xs = [(float(x), f"{x:.3g}") for x in (edges[0], edges[-1])]
    picture = frame.svg(frame.axes(ys, xs, "importance weight, decisions on a log scale") + bars, "weights")
    words = f"{len(weights):,} decisions; the largest weight is {weights.max():.4g}."
    return f"<h2>Weights</h2><p>{words}</p><figure>{picture}</figure>"


def _costs(found: Evaluation) -> str:
    rows = ""
    for name, cost in found.costs.items():
        e = cost.estimate
        said = e.reason if isinstance(e, Withheld) else f"{e.value:.5g} ({e.lower:.5g} to {e.upper:.5g})"
        budget = "none" if cost.budget is None else f"{cost.budget:.5g}"
        cells = (name, said, budget, "refused" if cost.refused else "")
        rows += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    head = "<tr><th>cost</th><th>estimate</th><th>budget</th><th></th></tr>"
    return f"<h2>Costs</h2><table>{head}{rows}</table>" if rows else ""


def _diagnostics(found: Evaluation) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(f'{value:.5g}' if isinstance(value, float) else str(value))}</td></tr>"
        for name, value in found.diagnostics.items()
    )
    return f"<h2>Diagnostics</h2><table>{rows}</table>"
