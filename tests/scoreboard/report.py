"""The table, for a terminal and for docs/scoreboard.md: every number, goals missed included."""

from collections.abc import Sequence
from math import isfinite

from tests.scoreboard.measure import Effort, Row
from tests.scoreboard.scenarios import BETWEEN

HEAD = (
    "scenario",
    "false signals / paid for",
    "delay, events",
    "missed",
    "wrong cause",
    "limit",
    "x limit",
    "goal",
    "",
)


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table."""
    budget = row.events / row.scenario.setting.between
    return (
        row.scenario.name,
        f"{row.signals} / {budget:.1f}" if row.events else f"(as {row.scenario.null})",
        f"{row.delay:.0f} ± {row.error:.0f}" if row.delays else "-",
        f"{row.missed} of {row.runs - row.early}",
        str(row.wrong),
        f"{row.limit:.0f}" if isfinite(row.limit) else "-",
        f"{row.multiple:.2f}" if isfinite(row.multiple) else "-",
        f"<= {row.scenario.goal:g}" if isfinite(row.scenario.goal) else "-",
        _judged(row),
    )


def markdown(rows: Sequence[Row], effort: Effort, peers: str = "") -> str:
    """The whole page."""
    table = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    table += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    return f"""# Scoreboard

Written by `make scoreboard` (`python -m tests.scoreboard`); every line is seeded, and is measured by the real
detectors, rules and alert life over buckets of 2 to 10 events against baselines of 5,000 events. One rule is
armed at a time (two where the right cause is asked for), at a budget of one false signal in {BETWEEN:,.0f} events.

- **false signals / paid for**: signals in quiet events of the same world, over what the budget allows in them
  ({effort.references} baselines of {effort.quiet:,} live events each; worlds that are quiet alike are measured once).
- **delay**: from the change to the first signal of the right rule, ± its standard error
  ({effort.references * effort.runs} runs). **missed**: no such signal in the run. Runs with a false signal before the
  change are left out. **wrong cause**: another rule spoke first.
- **limit**: mean delay of the best possible test, a CUSUM that knows both laws, simulated at the same time between
  false alarms. For a ramp the best of three such tests that each know one shift.
- **goal**: the multiple of the limit that the project set itself.

{chr(10).join(table)}

{summary(rows)}
{peers}"""


def summary(rows: Sequence[Row]) -> str:
    """What the rows say together."""
    counted = [row for row in rows if row.events]
    signals, paid = (
        sum(row.signals for row in counted),
        sum(row.events / row.scenario.setting.between for row in counted),
    )
    goals = [row for row in rows if isfinite(row.scenario.goal) and isfinite(row.multiple)]
    missed = [row.scenario.name for row in goals if row.multiple > row.scenario.goal or row.missed]
    said = "; ".join(missed) if missed else "none"
    return (
        f"All quiet worlds together: {signals} false signals where {paid:.1f} were paid for. "
        f"Goals met: {len(goals) - len(missed)} of {len(goals)}. Goals missed: {said}.\n"
    )


def _judged(row: Row) -> str:
    if row.missed:
        return "MISSED CHANGES"
    if not isfinite(row.scenario.goal):
        return ""
    return "met" if row.multiple <= row.scenario.goal else "missed"
