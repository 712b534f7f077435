"""`policywatch check`: the price and the power of every rule, and what to mend."""

import json
from argparse import Namespace

from monitor.assembly import load_baselines
from monitor.checking import Price, Report, check
from monitor.config import Config
from monitor.config_file import load_config
from monitor.durations import human_duration
from monitor.exit_codes import FINDING, FINE
from monitor.receivers import receivers_for

HEADER = (
    f"  {'rule':<11}{'statistic':<34}{'/month':>8}{'typical':>11}{'line':>11}{'sees':>11}{'after':>8}"
    "  on its baseline"
)


def run(arguments: Namespace) -> int:
    """Print the report; exit 1 where something should be mended."""
    config = load_config(arguments.config)
    receivers_for(config, None, None)
    report = check(config, load_baselines(config, arguments.config.parent))
    if arguments.json:
        print(json.dumps(report.as_json()))
    else:
        _print(config, report)
    return FINDING if report.findings else FINE


def _print(config: Config, report: Report) -> None:
    print(f"config {config.digest()}")
    for name, monthly in report.false_per_month.items():
        print(f"\n{name}: {monthly:.3g} false signals a month in all")
        prices = report.prices.get(name, ())
        if prices:
            print(HEADER)
        shown: set[str] = set()
        for price in prices:
            print(_row(price, first=price.rule not in shown))
            shown.add(price.rule)
    print()
    for finding in report.findings:
        rule = f" {finding.rule}" if finding.rule else ""
        print(f"{finding.name}: {finding.deployment}{rule}: {finding.text}")
    if not report.findings:
        print("nothing to mend")


def _row(price: Price, first: bool) -> str:
    share = f"{price.false_per_month:.2g}" if first else ""
    seen = f"{price.breaches} of {price.looks} windows over the line"
    seen += f", {price.unknown} unknown" if price.unknown else ""
    return (
        f"  {price.rule:<11}{price.statistic:<34}{share:>8}{price.typical:>11.4g}"
        f"{price.threshold:>11.4g}{price.smallest_change:>11.4g}{human_duration(price.seen_after_ms):>8}  {seen}"
    )
