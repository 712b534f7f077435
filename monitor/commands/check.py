"""`policywatch check`: the price and the power of every rule, and what to mend."""

import json
from argparse import Namespace
from math import isnan

from monitor.assembly import load_baselines
from monitor.checking import Report, check
from monitor.config import Config
from monitor.config_file import load_config
from monitor.exit_codes import FINDING, FINE
from monitor.judging.pricing import Price, summed
from monitor.receivers import receivers_for

HEADER = (
    f"  {'rule':<11}{'test':<40}{'/month':>8}{'shown':>12}{'typical':>11}{'line':>11}{'sees':>11}{'after':>8}"
    "  on its baseline"
)
LEGEND = (
    "  /month: false signals paid for; shown: what the baseline itself bears out, per month (90 % interval);"
    "\n  sees: the smallest change found in 4 of 5 windows that it fills (by sequential tests: on average), and after"
    " what time\n  canary: priced like the others, compared live: no baseline shows it"
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
        for rule in dict.fromkeys(price.rule for price in prices):
            mine = [price for price in prices if price.rule == rule]
            print(_row(summed(mine), rule))
            for price in mine:
                print(_row(price, ""))
        if prices:
            print(LEGEND)
    print()
    for finding in report.findings:
        rule = f" {finding.rule}" if finding.rule else ""
        print(f"{finding.name}: {finding.deployment}{rule}: {finding.text}")
    if not report.findings:
        print("nothing to mend")


def _row(price: Price, rule: str) -> str:
    interval = f"{price.shown_low:.2g}-{price.shown_high:.2g}"
    start = f"  {rule:<11}{price.statistic:<40}{price.false_per_month:>8.2g}{interval:>12}"
    if rule:
        return f"{start}  all its tests: {price.shown} signals on the baseline"
    seen = f"{price.breaches} of {price.looks} {'buckets' if isnan(price.threshold) else 'windows'} over the line"
    seen += f", {price.unknown} unknown" if price.unknown else ""
    return (
        f"{start}{_number(price.typical)}{_number(price.threshold)}{_number(price.smallest_change)}"
        f"{_after(price.seen_after_ms):>8}  {seen}"
    )


def _after(ms: int) -> str:
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        if ms >= size:
            return f"{ms / size:.3g}{unit}"
    return f"{ms / 1000:.3g}s" if ms else "-"


def _number(value: float) -> str:
    return f"{'-' if isnan(value) else format(value, '.4g'):>11}"
