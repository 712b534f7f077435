"""The report's three pictures: the reward with its lines, the shares of the actions, the verdicts of the rules."""

from collections.abc import Sequence
from math import ceil, floor

from monitor.demo.policies import LEARNED, SAFE
from monitor.demo.recording import Recording
from monitor.demo.site import WINDOW_S
from monitor.demo.tally import Second
from monitor.demo.world import SHELVES
from monitor.pages.chart import Frame, Point, rect, stroke, text

_MATURE = 0.95  # a second with fewer of its rewards is not drawn yet
_ROW = 24  # pixels of a rule's verdicts
_VERDICTS = {"ok": "--safe", "breach": "--bad", "unknown": "--rule", "error": "--warn"}


def reward_plot(recording: Recording, style: bool = False) -> str:
    """Mean reward by second, the daemon's window and its trip line, the baseline, and the events."""
    seconds = [s for s in recording.full_seconds() if s.joined > _MATURE * s.decisions]
    top = max([s.mean for s in seconds if s.joined] + [recording.baseline.get("mean", 0.5)], default=1.0)
    frame = _frame(recording, seconds, min(1.0, ceil(top * 10 + 0.5) / 10), 400)
    body = _trouble(recording, frame) + frame.axes(_tenths(frame), _ticks(frame), "seconds after the change")
    body += _baseline(recording, frame)
    body += frame.curve([(_x(recording, k.at_ms), _n(k.value)) for k in recording.looks], "--window", 1.6)
    line = [(_x(recording, look.at_ms), _n(look.line)) for look in recording.looks]
    body += frame.curve(line, "--bad", 1.6, 'stroke-dasharray="2 4"')
    learned, safe = _by_policy(recording, seconds)
    body += frame.curve(learned, "--learned", 2.6) + frame.curve(safe, "--safe", 2.6)
    body += _events(recording, frame) + _legend(frame)
    return frame.svg(body, "Mean reward by second, before and after the change", style)


def shares_plot(recording: Recording) -> str:
    """Stacked shares of the shelves by second."""
    seconds = [s for s in recording.full_seconds() if s.decisions]
    frame = _frame(recording, seconds, 1.0, 280)
    body, floor_of = "", dict.fromkeys((s.at_s for s in seconds), 0.0)
    for shelf, name in enumerate(SHELVES):
        under = [(_x(recording, s.at_s * 1000 + 500), floor_of[s.at_s]) for s in seconds]
        for s in seconds:
            floor_of[s.at_s] += s.shelves[shelf] / s.decisions
        over = [(_x(recording, s.at_s * 1000 + 500), floor_of[s.at_s]) for s in seconds]
        body += _area(frame, [*over, *reversed(under)], f"--c{shelf}")
        body += _swatch(frame.inset_left + 88 * shelf, 22, f"--c{shelf}", name)
    percents = [(v / 4, f"{v * 25} %") for v in range(5)]
    body = frame.axes(percents, _ticks(frame), "seconds after the change") + body
    return frame.svg(body + _events(recording, frame, labels=False), "Shares of the actions by second")


def verdicts_plot(recording: Recording) -> str:
    """One row per rule, one cell per sealed bucket of the learned policy."""
    rules = _rules_with_input(recording)
    frame = _frame(recording, recording.full_seconds(), 1.0, 92 + _ROW * len(rules), inset_left=92)
    ends = [look.at_ms for look in recording.looks[1:]] + [recording.looks[-1].at_ms + 1000] if rules else []
    body = ""
    for row, rule in enumerate(rules):
        y = frame.inset_top - 10 + row * _ROW
        body += text(frame.inset_left - 10, y + 13, rule, "end", "ink")
        for look, end_ms in zip(recording.looks, ends, strict=True):
            verdict = look.verdicts.get(rule, "unknown")
            left, right = frame.x(_x(recording, look.at_ms - 1000)), frame.x(_x(recording, end_ms - 1000))
            left, right = max(left, frame.inset_left), min(right, frame.width - frame.inset_right)
            if right > left:
                body += rect(left, y, right - left - 1, _ROW - 6, _VERDICTS[verdict], f"{rule}: {verdict}")
    for place, (verdict, colour) in enumerate(_VERDICTS.items()):
        body += _swatch(frame.inset_left + 88 * place, 22, colour, verdict)
    body += frame.axes([], _ticks(frame), "seconds after the change")
    return frame.svg(body + _events(recording, frame, labels=False), "Verdict of each rule by second")


def _rules_with_input(recording: Recording) -> list[str]:
    """Rules that ever had something to judge (no latency is logged here, and no truth)."""
    verdicts = [pair for look in recording.looks for pair in look.verdicts.items()]
    return list(dict.fromkeys(rule for rule, verdict in verdicts if verdict != "unknown"))


def _frame(
    recording: Recording, seconds: Sequence[Second], high: float, height: int, inset_left: int = 52
) -> Frame:
    times = [_x(recording, s.at_s * 1000) for s in seconds] or [0.0, 1.0]
    return Frame(min(times), max(times) + 1, 0.0, high, height=height, inset_left=inset_left)


def _x(recording: Recording, at_ms: float) -> float:
    """Seconds after the change, or after the start where there was none."""
    zero = recording.marks.get("change") or recording.marks.get("serving") or at_ms
    return (at_ms - zero) / 1000


def _n(value: float | None) -> float:
    return float("nan") if value is None else value


def _tenths(frame: Frame) -> list[tuple[float, str]]:
    return [(v / 5, f"{v / 5:.1f}") for v in range(int(frame.high * 5 + 1e-9) + 1)]


def _ticks(frame: Frame) -> list[tuple[float, str]]:
    step = 5
    first = ceil(frame.left / step) * step
    return [(float(v), f"{v:+d}" if v else "0") for v in range(first, floor(frame.right) + 1, step)]


def _by_policy(recording: Recording, seconds: Sequence[Second]) -> tuple[list[Point], list[Point]]:
    """The curve of each policy; they meet in the second of the switch."""
    points = [(_x(recording, s.at_s * 1000 + 500), s.mean, s.fallback * 2 > s.decisions) for s in seconds]
    learned = [(x, y) for x, y, fallback in points if not fallback]
    return learned, learned[-1:] + [(x, y) for x, y, fallback in points if fallback]


def _baseline(recording: Recording, frame: Frame) -> str:
    if "mean" not in recording.baseline:
        return ""
    mean = recording.baseline["mean"]
    ends = [(frame.left, mean), (frame.right, mean)]
    return frame.curve(ends, "--soft", 1.4, 'stroke-dasharray="7 5"')


def _trouble(recording: Recording, frame: Frame) -> str:
    """The stretch in which a policy served that did not fit the world any more."""
    if "change" not in recording.marks:
        return ""
    left, right = frame.x(0.0), frame.x(_x(recording, recording.marks.get("fallback", 1 << 62)))
    right = min(right, frame.width - frame.inset_right)
    return rect(left, frame.inset_top, right - left, frame.bottom - frame.inset_top, "--fill")


def _events(recording: Recording, frame: Frame, labels: bool = True) -> str:
    marks = recording.marks
    shown = [
        ("change", "tastes turn round", "--bad"),
        ("fallback", "fallback served", "--safe"),
        ("recovered", "recovered", "--safe"),
    ]
    parts = []
    for name, label, colour in shown:
        if name not in marks:
            continue
        x = frame.x(_x(recording, marks[name]))
        parts.append(stroke(f"M{x:.1f} {frame.inset_top - 6}V{frame.bottom}", colour, 1.3))
        if labels:
            label += f" +{_x(recording, marks[name]):.1f} s" if name != "change" else ""
            level = frame.inset_top - (30 if name == "fallback" else 12)
            fits = name != "change" and x + 8.4 * len(label) + 10 < frame.width
            parts.append(
                text(x + (5 if fits else -5), level, label, "start" if fits else "end", "strong", colour)
            )
    return "".join(parts)


def _legend(frame: Frame) -> str:
    names = [
        ("--learned", f"{LEARNED}, by second"), ("--safe", f"{SAFE}, by second"), ("--soft", "baseline mean"),
        ("--window", f"{WINDOW_S} s window of {LEARNED}"), ("--bad", "its trip line"),
    ]  # fmt: skip
    parts, x = [], float(frame.inset_left)
    for colour, name in names:
        parts.append(_swatch(x, frame.height - 6, colour, name))
        x += 34 + 7.2 * len(name)
    return "".join(parts)


def _swatch(x: float, y: float, colour: str, name: str) -> str:
    return rect(x, y - 9, 12, 10, colour) + text(x + 17, y, name)


def _area(frame: Frame, points: Sequence[Point], colour: str) -> str:
    if not points:
        return ""
    path = "M" + "L".join(f"{frame.x(x):.1f} {frame.y(y):.1f}" for x, y in points) + "Z"
    return f'<path d="{path}" style="fill:var({colour});fill-opacity:.82"/>'
