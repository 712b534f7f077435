"""The table, for a terminal and for docs/scoreboard.md: every number, goals missed included."""

from collections.abc import Sequence
from math import isfinite

from tests.bench.scoreboard.measure import FULL, Realised, Row
from tests.bench.scoreboard.scenario import BETWEEN, Scenario

HEAD = (
    "scenario",
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
    return (
        row.scenario.name,
        f"{row.delay:.0f} ± {row.error:.0f}" if row.delays else "-",
        f"{row.missed} of {row.judged}",
        str(row.total("wrong")),
        f"{row.limit:.0f}" if isfinite(row.limit) else "-",
        f"{row.multiple:.2f}" if isfinite(row.multiple) else "-",
        f"<= {row.scenario.goal:g}" if isfinite(row.scenario.goal) else "-",
        _judged(row),
    )


def markdown(rows: Sequence[Row], scenarios: Sequence[Scenario], peers: str = "") -> str:
    """The whole page."""
    table = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    table += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    return f"""# Scoreboard

Written by `make scoreboard` (`python -m tests.bench.scoreboard`); every line is seeded, and is measured by the real
detectors, rules and alert life over buckets of 2 to 20 events against {_baselines(rows)} baselines of 5,000 events,
each drawn anew. One rule is armed at a time (two where the right cause is asked for), at a budget of one false signal
in {BETWEEN:,.0f} events.

{summary(rows)}{_unmeasured(rows, scenarios)}
## Changes

- **delay**: from the change to the first signal of the right rule, ± its standard error
  (runs against one baseline count as one draw). **missed**: no such signal in
  the run. Runs with a false signal in the {FULL.warm} events before the change are left out.
  **wrong cause**: another rule spoke first.
- **limit**: mean delay of the best possible test, a CUSUM that knows both laws, simulated at the same time between
  false alarms. For a ramp the best of three such tests that each know one shift.
- **goal**: the multiple of the limit that the project set itself.

{chr(10).join(table)}

## False signals

Time between false signals in quiet worlds over its setting, with 90 % intervals, over baselines of 5,000
and of {FULL.short:,} rows; in brackets signals and what the budget allows in so many events. The band is the project's
own goal. Intervals are Poisson's; the chance of a lucky or unlucky baseline comes on top.

{chr(10).join(_quiet(rows))}

{peers}"""


def _unmeasured(rows: Sequence[Row], scenarios: Sequence[Scenario]) -> str:
    """What this page does not know, said on top of it."""
    known = {row.scenario.name for row in rows}
    names = [scenario.name for scenario in scenarios if scenario.name not in known]
    return f"Not measured in this run: {'; '.join(names)}.\n" if names else ""


def _baselines(rows: Sequence[Row]) -> str:
    least, most = min(len(row.parts) for row in rows), max(len(row.parts) for row in rows)
    return str(most) if least == most else f"{least} to {most}"


def summary(rows: Sequence[Row]) -> str:
    """What the rows say together."""
    signals = sum(row.total("signals") + row.total("short_signals") for row in rows)
    paid = sum(_realised(row, kind).paid for row in rows for kind in ("", "short_"))
    goals = [row for row in rows if isfinite(row.scenario.goal) and isfinite(row.multiple)]
    missed = [row for row in goals if row.multiple > row.scenario.goal or row.missed]
    said = "; ".join(f"{row.scenario.name} ({row.multiple:.2f}, not {row.scenario.goal:g})" for row in missed)
    return (
        f"All quiet worlds together: {signals} false signals where {paid:.0f} were paid for. "
        f"Goals met: {len(goals) - len(missed)} of {len(goals)}. Goals missed: {said or 'none'}.\n"
    )


def _quiet(rows: Sequence[Row]) -> list[str]:
    found = ["| quiet world of | 5,000 rows | 2,000 rows | both | band |", "|---|---|---|---|---|"]
    for row in rows:
        if not row.total("events"):
            continue
        long, short = _realised(row, ""), _realised(row, "short_")
        low, high = row.scenario.band
        band = f"{low:g} to {high:g}" if isfinite(high) else f">= {low:g}"
        both = Realised(long.signals + short.signals, long.paid + short.paid)
        cells = [f"{_in_words(one)} ({one.signals} / {one.paid:.0f})" for one in (long, short, both)]
        found.append(f"| {row.scenario.name} | {' | '.join(cells)} | {band} |")
    return found


def _realised(row: Row, kind: str) -> Realised:
    return Realised(row.total(f"{kind}signals"), row.total(f"{kind}events") / row.scenario.setting.between)


def _in_words(one: Realised) -> str:
    low, high = one.interval
    return f"{one.ratio:.2f} [{low:.2f}, {high:.2f}]" if one.signals else f"> {low:.2f}"


def _judged(row: Row) -> str:
    if row.missed:
        return "MISSED CHANGES"
    if not isfinite(row.scenario.goal):
        return ""
    return "met" if row.multiple <= row.scenario.goal else "missed"
