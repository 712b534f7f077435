"""The report and the view are made of a recorded run alone, and need nothing from outside."""

import io
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from rich.text import Text

from monitor.demo.plots import reward_plot
from monitor.demo.recording import Recording, load_recording
from monitor.demo.report import render, write_report
from monitor.demo.view import LiveView, PlainLines, picture

RECORDED = Path(__file__).parent / "recorded.json"


@pytest.fixture
def recorded() -> Recording:
    """A run of the demo, seed 2, as it was recorded."""
    return load_recording(RECORDED)


def test_report_tells_the_steps_and_quotes_the_signal(recorded: Recording) -> None:
    page = render(recorded)
    assert recorded.act is not None
    assert recorded.act.data["reason"] in page
    assert "The policy went wrong, and 4.1 s later it was out of traffic" in page
    assert page.count("<figure>") == 3
    assert recorded.act.data["evidence"]["baseline"] in page


def test_report_needs_nothing_from_outside(recorded: Recording) -> None:
    page = render(recorded).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)


def test_pictures_are_well_formed(recorded: Recording) -> None:
    pictures = re.findall(r"<svg.*?</svg>", render(recorded), flags=re.DOTALL)
    assert len(pictures) == 3
    for one in [*pictures, reward_plot(recorded, style=True)]:
        ET.fromstring(one)
        assert "nan" not in one


def test_report_of_a_loop_that_did_not_close_says_why(recorded: Recording, tmp_path: Path) -> None:
    recorded.received.clear()
    for name in ("detected", "delivered", "fallback", "recovered"):
        del recorded.marks[name]
    write_report(recorded, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "The loop did not close: the daemon raised no fallback after the change" in page
    assert "None was obeyed" in page


def test_report_of_a_demo_that_never_served_can_be_read() -> None:
    assert "the serving layer never decided" in render(Recording(1, "in-memory"))


def test_words_of_a_signal_cannot_break_the_page(recorded: Recording) -> None:
    assert recorded.act is not None
    recorded.act.data["reason"] = "<b>10 & more</b>"
    assert "<b>10 & more</b>" not in render(recorded)
    assert "&lt;b&gt;10 &amp; more&lt;/b&gt;" in render(recorded)


def test_live_picture_shows_policy_verdicts_and_steps(recorded: Recording) -> None:
    console = Console(file=io.StringIO(), width=120, height=50, force_terminal=False)
    with console.capture() as capture:
        console.print(picture(recorded, Text("head")))
    shown = capture.get()
    for words in ("serving rules-v3", "baseline 0.77", "reward", "breach", "recovered", "█"):
        assert words in shown


def test_live_view_gives_the_terminal_back(recorded: Recording) -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, force_terminal=True, width=120, height=50))
    view.phase("all is well")
    view.update(recorded)
    view.close()
    assert "all is well" in out.getvalue()
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h") == 1


def test_plain_lines_tell_each_step_once(recorded: Recording) -> None:
    out = io.StringIO()
    lines = PlainLines(out)
    lines.phase("policywatch run")
    lines.update(recorded)
    lines.update(recorded)
    assert out.getvalue().count("fallback served: rules-v3") == 1
    assert out.getvalue().count("policywatch run") == 1
