"""The report of a replay: one self-contained page with every armed statistic, its line, and the signals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from math import isfinite, isnan, nan

from alerts.rules import rule_of
from alerts.signal import Signal
from detectors.candidates import sums as candidates
from detectors.measurement import Measurement, Verdict
from monitor.durations import rfc3339
from monitor.pages.chart import Frame, stroke, text
from monitor.pages.page import page
from monitor.replaying import Summary
from monitor.sealed import Sealed

MAX_POINTS = 1_500  # of a series; a longer one keeps every second point, and so on
MAX_SERIES = 60
MAX_SIGNALS = 500
MAX_CANDIDATES = 64
WORDS = ("trust", "comparison", "difference", "cost", "realised", "coverage")

Name = tuple[str, str, str, str]  # deployment, policy, stage, statistic


@dataclass(slots=True)
class Series:
    """One statistic over the log: (end of bucket, value, line, verdict), thinned as it grows."""

    rule: str
    stride: int = 1
    seen: int = 0
    points: list[tuple[int, float, float, Verdict]] = field(default_factory=list)

    def add(self, end_ms: int, m: Measurement) -> None:
        """One more bucket."""
        if self.seen % self.stride == 0 or (
            m.verdict is Verdict.BREACH and self.points[-1][3] is not Verdict.BREACH
        ):
            self.points.append((end_ms, m.value, m.threshold, m.verdict))
        self.seen += 1
        if len(self.points) > MAX_POINTS:
            self.points = self.points[::2]
            self.stride *= 2


class ReplayReport:
    """Listens to a replay and makes the page at its end; memory is bounded whatever the log's length."""

    def __init__(self) -> None:
        self._series: dict[Name, Series] = {}
        self._signals: list[Signal] = []
        self._verdicts: dict[Verdict, int] = dict.fromkeys(Verdict, 0)
        self._candidates: dict[tuple[str, str, str], dict[str, Measurement]] = {}

    def sealed(self, sealed: Sealed) -> None:
        """Remember what is armed."""
        for (policy, stage), measured in sealed.measured.items():
            for m in measured:
                self._verdicts[m.verdict] += 1
                if m.detector == candidates.NAME:
                    self._follow((sealed.deployment, policy, m.subject), m)
                if not isnan(m.threshold) and not (m.subject and m.detector == "state_kl"):
                    self._add((sealed.deployment, policy, stage, _title(m)), sealed.end_ms, m)

    def signalled(self, signal: Signal) -> None:
        """Remember a signal."""
        if len(self._signals) < MAX_SIGNALS:
            self._signals.append(signal)

    def render(self, summary: Summary) -> str:
        """The page."""
        parts = [
            _head(summary, self._verdicts),
            self._table(),
            _candidates(self._candidates),
            *self._figures(),
        ]
        body = "".join(parts)
        return page("policywatch replay", body)

    def _add(self, name: Name, end_ms: int, m: Measurement) -> None:
        if name in self._series or len(self._series) < MAX_SERIES:
            self._series.setdefault(name, Series(rule_of(m.detector, m.statistic))).add(end_ms, m)

    def _follow(self, name: tuple[str, str, str], m: Measurement) -> None:
        """The newest of each of a candidate's statistics."""
        if name in self._candidates or len(self._candidates) < MAX_CANDIDATES:
            self._candidates.setdefault(name, {})[m.statistic] = m

    def _table(self) -> str:
        if not self._signals:
            return "<h2>Signals</h2><p>None.</p>"
        rows = "".join(
            f"<tr><td>{rfc3339(s.time_ms)}</td><td>{escape(s.kind)} {s.state}</td><td>{escape(s.rule)}</td>"
            f"<td>{escape(s.reason)}</td></tr>"
            for s in self._signals
        )
        return f"<h2>Signals</h2><table><tr><th>time</th><th>what</th><th>rule</th><th>why</th></tr>{rows}</table>"

    def _figures(self) -> Iterator[str]:
        for (deployment, policy, stage, statistic), series in self._series.items():
            mine = [s for s in self._signals if (s.deployment, s.policy, s.subject, s.rule) ==
                    (deployment, policy, stage, series.rule)]  # fmt: skip
            title = f"{policy} ({stage}): {statistic}"
            yield f"<h2>{escape(title)}</h2><figure>{_picture(series, mine, title)}</figure>"


def _picture(series: Series, signals: Sequence[Signal], title: str) -> str:
    points = series.points
    known = [y for _, value, line, _ in points for y in (value, line) if isfinite(y)]
    if not known:
        return "<p>unknown throughout</p>"
    low, high = min(known), max(known)
    margin = (high - low or abs(high) or 1.0) * 0.06
    frame = Frame(
        points[0][0],
        points[-1][0],
        low - margin,
        high + margin,
        height=240,
        inset_top=30,
        inset_left=84,
        inset_right=72,
    )
    marks = "".join(_mark(frame, signal) for signal in signals)
    values = frame.curve([(t, value) for t, value, _, _ in points], "--learned", 1.6)
    lines = frame.curve([(t, line) for t, _, line, _ in points], "--bad", 1.2, 'stroke-dasharray="4 3"')
    ticks = [(y, f"{y:.3g}") for y in (low, (low + high) / 2, high)]
    ends = [(points[0][0], rfc3339(points[0][0])[:16]), (points[-1][0], rfc3339(points[-1][0])[:16])]
    return frame.svg(frame.axes(ticks, ends, "event time, UTC") + marks + values + lines, title)


def _mark(frame: Frame, signal: Signal) -> str:
    x = frame.x(signal.time_ms)
    colour = "--bad" if signal.state == "firing" else "--safe"
    line = stroke(f"M{x:.1f} {frame.inset_top}V{frame.bottom:.1f}", colour, 1.2)
    return line + text(
        x, frame.inset_top - 8, f"{signal.kind} {signal.state}", anchor="middle", colour=colour
    )


def _head(summary: Summary, verdicts: dict[Verdict, int]) -> str:
    rejected = ", ".join(
        f"{count:,} {escape(str(reason))}" for reason, count in sorted(summary.rejected.items())
    )
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.items())
    return (
        f"<h1>{summary.signals} signals in {summary.events:,} events</h1>"
        f"<p>Verdicts: {counts}. Records set aside: {rejected or 'none'}.</p>"
        "<p>Blue is the statistic, red its line; a vertical stroke is a signal of its rule.</p>"
    )


def _candidates(found: dict[tuple[str, str, str], dict[str, Measurement]]) -> str:
    """Every candidate as it stood last."""
    rows = ""
    for (deployment, candidate, against), said in found.items():
        numbers = [said[name].value if name in said else nan for name in ("value", "lower", "upper", "ess")]
        cells = [deployment, candidate, against, *(f"{x:.5g}" if isfinite(x) else "" for x in numbers)]
        words = [said[name].reason for name in WORDS if name in said and said[name].reason]
        rows += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in [*cells, "; ".join(words)]) + "</tr>"
    heads = ("deployment", "candidate", "on decisions of", "value", "lower", "upper", "ess", "verdict")
    head = "<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"
    return f"<h2>Candidates</h2><table>{head}{rows}</table>" if rows else ""


def _title(m: Measurement) -> str:
    return f"{m.detector} {m.statistic}" + (f" of {m.subject}" if m.subject else "")
