"""`policywatch baseline build`: accepted events into one artefact."""

import json
import sys
from argparse import Namespace

from monitor.baselines.building import build_baseline
from monitor.commands.events import events_of
from monitor.commands.output import Progress
from monitor.config_file import load_config
from monitor.config_reader import ConfigError
from monitor.durations import rfc3339
from monitor.exit_codes import FINE
from monitor.replaying import Observer


def run(arguments: Namespace) -> int:
    """Build and say what was counted."""
    config = load_config(arguments.config)
    if arguments.deployment not in config.deployments:
        known = ", ".join(config.deployments)
        raise ConfigError([f"deployments.{arguments.deployment}: not in the config, which has {known}"])
    log = events_of(arguments, config)
    progress = Progress("events")
    digest, facts, summary = build_baseline(
        config, arguments.deployment, log, arguments.out, Observer(on_progress=progress)
    )
    progress.done()
    if arguments.json:
        print(json.dumps({"path": str(arguments.out), "digest": digest, "decisions": facts.decisions,
                          "rewards": facts.rewards, "first": rfc3339(facts.first_ms), "last": rfc3339(facts.last_ms),
                          "rejected": dict(summary.rejected)}))  # fmt: skip
        return FINE
    print(f"{arguments.out}: baseline {digest} of {facts.deployment}")
    print(
        f"  {facts.decisions:,} decisions, {facts.rewards:,} rewards, "
        f"{rfc3339(facts.first_ms)} to {rfc3339(facts.last_ms)}"
    )
    print(
        f"  {facts.state_width} features, {len(facts.labels)} actions, policies {', '.join(facts.policies)}"
    )
    for reason, count in sorted(summary.rejected.items()):
        print(f"  rejected {count:,}: {reason} (first: {summary.examples[reason]})", file=sys.stderr)
    return FINE
