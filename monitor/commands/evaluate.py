"""`policywatch evaluate`: would this candidate have been better, and can the answer be believed?"""

import json
import sys
from argparse import Namespace

from detectors.ope import Evaluation
from detectors.ope.intervals.interval import Withheld
from detectors.ope.verdict import Comparison, Estimate, Verdict
from monitor.commands.events import events_of
from monitor.config_file import load_config
from monitor.config_reader import ConfigError
from monitor.evaluating import NoCandidate, evaluate_log
from monitor.exit_codes import FINDING, FINE, USAGE
from monitor.pages.evaluation import render


def run(arguments: Namespace) -> int:
    """Print the evaluation; 0 where the candidate may go on, 1 where it is worse, refused or cannot be told."""
    config = load_config(arguments.config)
    name = arguments.deployment or _only(list(config.deployments))
    if name not in config.deployments:
        raise ConfigError([f"deployments.{name}: not in the config"])
    try:
        found, weights = evaluate_log(config, name, arguments.candidate, events_of(arguments, config))
    except NoCandidate as error:
        print(f"policywatch: {error}", file=sys.stderr)
        return USAGE
    if arguments.report:
        arguments.report.write_text(render(found, weights), encoding="utf-8")
    if arguments.json:
        print(json.dumps(found.as_dict(), allow_nan=False))
    else:
        _print(found)
    return FINE if acceptable(found) else FINDING


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
    if found.more_data is not None:
        print(f"  about {found.more_data:,} more rows would settle it")


def _numbers(estimate: Estimate | Withheld) -> str:
    if isinstance(estimate, Withheld):
        return f"  withheld: {estimate.reason}"
    return f"{estimate.value:>12.6g}{estimate.lower:>12.6g}{estimate.upper:>12.6g}"


def _short(value: float | int | str | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
