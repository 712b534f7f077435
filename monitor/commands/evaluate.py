"""`policywatch evaluate`: would this candidate have been better, and can the answer be believed?"""

import json
import sys
from argparse import Namespace
from functools import reduce
from pathlib import Path

from detectors.ope import CoverageRecord, Evaluation, Options, Outcome
from detectors.ope.intervals.interval import Withheld
from detectors.ope.verdict import Comparison, Estimate, Verdict
from monitor.commands.events import events_of
from monitor.config_file import load_config
from monitor.config_reader import ConfigError
from monitor.evaluation.candidate_views import ViewError, read_probabilities
from monitor.evaluation.coverage_file import read_outcomes, write_outcomes
from monitor.evaluation.evaluating import NoCandidate, evaluate_log
from monitor.exit_codes import FINDING, FINE, USAGE
from monitor.pages.evaluation import render


def run(arguments: Namespace) -> int:
    """Print the evaluation; 0 where the candidate may go on, 1 where it is worse, refused or cannot be told."""
    config = load_config(arguments.config)
    name = arguments.deployment or _only(list(config.deployments))
    if name not in config.deployments:
        raise ConfigError([f"deployments.{name}: not in the config"])
    try:
        view = read_probabilities(arguments.probabilities) if arguments.probabilities else None
        events = events_of(arguments, config)
        limits = Options(margin=arguments.margin, cvar_floor=arguments.cvar_floor)
        found = evaluate_log(config, name, arguments.candidate, events, view, limits)
    except (NoCandidate, ViewError) as error:
        print(f"policywatch: {error}", file=sys.stderr)
        return USAGE
    record = _recorded(arguments.record, found.outcome)
    if arguments.report:
        page = render(found.evaluation, found.weights, found.outcome, record)
        arguments.report.write_text(page, encoding="utf-8")
    if arguments.json:
        print(json.dumps(found.evaluation.as_dict() | _scored(found.outcome, record), allow_nan=False))
    else:
        _print(found.evaluation)
        _print_scored(found.outcome, record)
    return FINE if acceptable(found.evaluation) else FINDING


def acceptable(found: Evaluation) -> bool:
    """Reliable, within every budget, and better than the policy that runs."""
    return found.verdict is Verdict.RELIABLE and found.comparison is Comparison.BETTER and not found.refused


def _only(names: list[str]) -> str:
    if len(names) != 1:
        raise ConfigError([f"deployments: name one of {', '.join(names)} with --deployment"])
    return names[0]


def _print(found: Evaluation) -> None:
    print(f"{found.candidate}: {found.verdict}, {found.comparison}{', refused' if found.refused else ''}")
    print(f"  {found.reason}")
    print(f"\n  {'estimate':<20}{'value':>12}{'lower':>12}{'upper':>12}")
    for name, estimate in {
        "incumbent": found.incumbent,
        "difference": found.difference,
        **found.estimates,
    }.items():
        print(f"  {name:<20}{_numbers(estimate)}")
    if found.costs:
        print(f"\n  {'cost':<20}{'value':>12}{'lower':>12}{'upper':>12}{'budget':>12}")
    for name, cost in found.costs.items():
        budget = "none" if cost.budget is None else f"{cost.budget:.6g}"
        print(f"  {name:<20}{_numbers(cost.estimate)}{budget:>12}{'  refused' if cost.refused else ''}")
    print("\n  " + "  ".join(f"{name} {_short(value)}" for name, value in found.diagnostics.items()))
    for title, estimates in (("bound", found.bounds), ("lower tail", found.tail)):
        if estimates:
            print(f"\n  {title:<20}{'value':>12}{'lower':>12}{'upper':>12}")
        for name, estimate in estimates.items():
            refused = "  refused" if found.tail_refused and name == "cvar" else ""
            print(f"  {name:<20}{_numbers(estimate)}{refused}")
    if found.more_data:
        print(f"\n  about {found.more_data:,} more rows would settle it")


def _recorded(path: Path | None, outcome: Outcome | None) -> CoverageRecord:
    """All outcomes so far, this one among them; the file keeps one line per candidate, the newest."""
    known = read_outcomes(path) if path else {}
    if outcome is not None:
        known[outcome.candidate] = outcome
        if path:
            write_outcomes(path, known)
    return reduce(CoverageRecord.add, known.values(), CoverageRecord())


def _scored(outcome: Outcome | None, record: CoverageRecord) -> dict[str, object]:
    told: dict[str, object] = {"realised": None, "coverage": None}
    if outcome is not None:
        told["realised"] = {"value": outcome.realised, "error": outcome.error, "held": outcome.covered}
    if (coverage := record.coverage()) is not None:
        told["coverage"] = {
            "share": coverage.value,
            "n": record.total,
            "lower": coverage.lower,
            "upper": coverage.upper,
        }
    return told


def _print_scored(outcome: Outcome | None, record: CoverageRecord) -> None:
    if outcome is not None:
        held = "holds" if outcome.covered else "misses"
        print(
            f"\n  it ran, and earned {outcome.realised:.6g} ± {outcome.error:.2g}: the predicted interval {held} that"
        )
    if (coverage := record.coverage()) is not None:
        print(
            f"  predicted intervals have held {record.covered} of {record.total} times ({coverage.value:.0%})"
        )


def _numbers(estimate: Estimate | Withheld) -> str:
    if isinstance(estimate, Withheld):
        return f"  withheld: {estimate.reason}"
    return f"{estimate.value:>12.6g}{estimate.lower:>12.6g}{estimate.upper:>12.6g}"


def _short(value: float | int | str | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
