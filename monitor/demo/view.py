"""What a person sees while the demo runs: a live view on a terminal, plain lines everywhere else."""

import time
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from monitor.demo.policies import LEARNED, SAFE
from monitor.demo.recording import Recording
from monitor.demo.tally import Second
from monitor.demo.timeline import after_text, timeline

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ROWS = 6  # of the chart
_TELL_EVERY_S = 5.0
_COLOURS = {"ok": "green", "breach": "bold red", "unknown": "bright_black", "error": "yellow"}


class PlainLines:
    """One line per phase and per step, and now and then how the reward stands."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._began_s = time.monotonic()
        self._told_s = 0.0
        self._steps = 0

    def phase(self, text: str) -> None:
        """What begins now."""
        self._say(text)

    def update(self, recording: Recording) -> None:
        """Say what is new."""
        steps = timeline(recording)
        for step in steps[self._steps :]:
            after = f" ({after_text(step.after_ms)} after the change)" if step.after_ms is not None else ""
            self._say(f"* {step.words}{after}")
        self._steps = len(steps)
        seconds = recording.full_seconds()
        if seconds and time.monotonic() - self._told_s > _TELL_EVERY_S:
            self._told_s = time.monotonic()
            self._say(f"  {_now(recording)}")

    def close(self) -> None:
        """Nothing to put back."""

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began_s:5.1f} s  {text}", file=self._out, flush=True)


class LiveView:
    """Redrawn a few times a second; leaves its last picture on the screen."""

    def __init__(self, console: Console) -> None:
        self._phase = ""
        self._began_s = time.monotonic()
        self._recording: Recording | None = None
        self._live = Live(
            self._picture(), console=console, refresh_per_second=5, get_renderable=self._picture
        )
        self._live.start()

    def phase(self, text: str) -> None:
        """What begins now."""
        self._phase = text

    def update(self, recording: Recording) -> None:
        """What to draw from now on."""
        self._recording = recording

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()

    def _picture(self) -> RenderableType:
        head = Text.assemble(("policywatch demo  ", "bold"), (f"{time.monotonic() - self._began_s:4.0f} s  ", "dim"),
                             (self._phase, "bold cyan"))  # fmt: skip
        if self._recording is None or not self._recording.seconds:
            return Panel(head, border_style="bright_black")
        return Panel(picture(self._recording, head), border_style="bright_black", padding=(1, 2))


def picture(recording: Recording, head: Text) -> RenderableType:
    """The view of one moment."""
    sides = Table.grid(padding=(0, 4))
    sides.add_row(_verdicts(recording), _timeline(recording))
    reason = (
        Text(f"“{recording.act.data['reason']}”", "italic") if recording.act else Text("no signal", "dim")
    )
    return Group(head, Text(), _serving(recording), Text(), chart(recording), Text(), sides, Text(), reason)


def chart(recording: Recording) -> Text:
    """Bars of the mean reward by second, coloured by policy; the baseline as a mark at the left."""
    seconds = [s for s in recording.full_seconds() if s.joined][-48:]
    top = max([s.mean for s in seconds] + [recording.baseline.get("mean", 0.5)], default=1.0) * 1.1
    change_s = recording.marks.get("change", 1 << 62) // 1000
    base_row = int(recording.baseline.get("mean", -1) / top * _ROWS)
    text = Text()
    for row in reversed(range(_ROWS)):
        text.append(f"{top * (row + 1) / _ROWS:5.2f} ", "dim")
        text.append("┣ " if row == base_row else "│ ", "dim")
        for second in seconds:
            text.append(_block(second, row, top) * 2, _colour(second, change_s))
        text.append(" baseline\n" if row == base_row else "\n", "dim")
    text.append("      └" + "─" * (2 * len(seconds) + 1), "dim")
    return text


def _block(second: Second, row: int, top: float) -> str:
    eighths = round(second.mean / top * _ROWS * 8) - row * 8
    return _BLOCKS[min(max(eighths, 0), 8)]


def _colour(second: Second, change_s: int) -> str:
    if second.fallback * 2 > second.decisions:
        return "green"
    return "red" if second.at_s >= change_s else "blue"


def _serving(recording: Recording) -> Text:
    policy = SAFE if "fallback" in recording.marks else LEARNED
    return Text.assemble("serving ", (policy, "bold green" if policy == SAFE else "bold blue"), "   ",
                         (_now(recording), "default"))  # fmt: skip


def _now(recording: Recording) -> str:
    recent = [s for s in recording.full_seconds() if s.joined][-3:]
    joined = sum(s.joined for s in recent)
    mean = sum(s.reward for s in recent) / joined if joined else float("nan")
    line = recording.looks[-1].line if recording.looks else None
    words = f"reward {mean:.2f} now, baseline {recording.baseline.get('mean', float('nan')):.2f}"
    return words + (f", trip line {line:.2f}" if line is not None else "")


def _verdicts(recording: Recording) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"rule on {LEARNED}")
    table.add_column("verdict")
    for rule, verdict in (recording.looks[-1].verdicts if recording.looks else {}).items():
        table.add_row(rule, Text(verdict, _COLOURS.get(verdict, "")))
    return table


def _timeline(recording: Recording) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("what happened")
    table.add_column("after the change", justify="right")
    for step in timeline(recording):
        table.add_row(step.words, after_text(step.after_ms) if step.after_ms is not None else "")
    return table
