"""`baseline build`: accepted events through the pipeline into one artefact."""

from dataclasses import asdict, replace
from pathlib import Path

from detectors.registry import GATHERED
from monitor.assembly import build_gathering_core, build_pipeline, vocabulary_for
from monitor.baselines.baseline import BaselineError, Facts, save
from monitor.config import Config
from monitor.replaying import Observer, Summary, replay
from monitor.sealed import Sealed
from monitor.source import Log


def build_baseline(
    config: Config, name: str, log: Log, out: Path, observer: Observer
) -> tuple[str, Facts, Summary]:
    """Count every accepted decision of one deployment; returns the content hash, the facts and what was seen.

    Every reward horizon is waited out, so that the artefact holds mature rewards only.
    """
    deployment = config.deployments[name]
    only = replace(config, deployments={name: deployment})
    vocabulary = vocabulary_for(only, {})
    core, collector = build_gathering_core(only, name, vocabulary)
    pipeline = build_pipeline(only, core, vocabulary)
    span = Span()
    settle_ms = deployment.reward_horizon_ms + 2 * deployment.bucket_ms
    summary = replay(pipeline, log, replace(observer, on_sealed=span.note), settle_ms)
    try:
        parts = collector.finish()
    except ValueError as error:
        raise BaselineError(f"no baseline for {name}: {error}") from error
    code = vocabulary.deployments.codes[name]
    facts = Facts(
        deployment=name,
        decisions=collector.decisions,
        rewards=collector.rewards,
        first_ms=span.first_ms,
        last_ms=span.last_ms,
        bucket_ms=collector.bucket_ms,
        state_width=vocabulary.state_width.get(code, 0),
        labels=tuple(vocabulary.action_labels(code).names),
        policies=tuple(vocabulary.policies.names),
        segments=tuple(vocabulary.segments_of(code).names),
        settings={key: asdict(deployment)[key] for key in COUNTED_WITH},
        detectors={spec.name: spec.version for spec in GATHERED},
    )
    return save(out, facts, parts), facts, summary


COUNTED_WITH = (
    "gamma",
    "returns",
    "n_step",
    "reward_horizon_ms",
    "bucket_ms",
    "combine",
    "missing_reward",
    "components",
    "metrics",
)


class Span:
    """The event time over which decisions were seen."""

    def __init__(self) -> None:
        self.first_ms, self.last_ms = 0, 0

    def note(self, sealed: Sealed) -> None:
        """Widen by one sealed bucket."""
        if sealed.decisions:
            self.first_ms = self.first_ms or sealed.end_ms
            self.last_ms = sealed.end_ms
