"""Puts the core together from a config and its baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from alerts.blindness import BlindLimits, Blindness
from alerts.closed_loop import ClosedLoops
from alerts.judge import Judge
from alerts.mandate import Mandate
from detectors.protocol import Detector, Spec
from detectors.registry import GATHERED, REGISTRY
from detectors.rewards import comparison
from detectors.rewards.reward import REWARD
from monitor.baselines.baseline import BaselineError, BaselineFile, load
from monitor.baselines.collecting import Collector
from monitor.config import Config, DeploymentConfig
from monitor.core import Core
from monitor.decoding.decode_settings import (
    DecodeSettings,
    DeploymentSettings,
    DsjsonSettings,
    DsjsonTime,
    Envelope,
    Format,
)
from monitor.episodes.book import EpisodeBook, EpisodePlan
from monitor.evaluation.candidates import Candidates
from monitor.event_time import TimeLimits, Watermark
from monitor.joining import Joining
from monitor.joins.candidates import PendingCandidates
from monitor.joins.join import JoinTable
from monitor.joins.orphans import Orphans
from monitor.joins.runs import Spill
from monitor.joins.shadows import Shadows
from monitor.joins.spill import SpillFolder
from monitor.joins.unfinished import Unfinished
from monitor.judging.coverage import coverage
from monitor.judging.plans import life_plan, plan_for, shares_of, with_options
from monitor.judging.seasons import OffSeason, off_season
from monitor.judging.sequential_tests import sequential_tests
from monitor.judging.slow_changes import slow_changes
from monitor.judging.units import unit_options
from monitor.judging.watched import Gatherer, Watched
from monitor.judging.windows import Windows
from monitor.pipeline import Pipeline
from monitor.segments import Segments
from monitor.sharding.tally import Tally
from monitor.vocabulary import Labels, Vocabulary

ORPHAN_LIMIT = 1_000_000  # rewards that wait for a decision that has not come
STAGES = ("full", "canary", "shadow", "fallback")


def load_baselines(config: Config, beside: Path) -> dict[str, BaselineFile]:
    """The baselines that the config names; a relative path is tried as given, then beside the config."""
    return {
        name: load(_found(Path(deployment.baseline), beside))
        for name, deployment in config.deployments.items()
        if deployment.baseline
    }


def vocabulary_for(config: Config, baselines: Mapping[str, BaselineFile]) -> Vocabulary:
    """Labels in a fixed order: the config's deployments, the baseline's actions."""
    vocabulary = Vocabulary(Labels(len(config.deployments)))
    vocabulary.deployments.extend(config.deployments)
    vocabulary.stages.extend(STAGES)
    for name, baseline in baselines.items():
        code = vocabulary.deployments.codes[name]
        vocabulary.action_labels(code).extend(baseline.facts.labels)
        vocabulary.segments_of(code).extend(baseline.facts.segments)
        if baseline.facts.state_width:
            vocabulary.state_width[code] = baseline.facts.state_width
    for name, deployment in config.deployments.items():
        _reserve_names(vocabulary, vocabulary.deployments.codes[name], deployment)
    return vocabulary


def _reserve_names(vocabulary: Vocabulary, code: int, deployment: DeploymentConfig) -> None:
    """Columns for what the config names come first, so that no producer can crowd them out."""
    vocabulary.column_names("costs", code).extend(deployment.costs)
    vocabulary.column_names("reward_costs").extend(deployment.costs)
    vocabulary.column_names("components").extend(deployment.components)


def build_core(
    config: Config, baselines: Mapping[str, BaselineFile], vocabulary: Vocabulary, spill: Spill | None = None
) -> Core:
    """The core that watches every deployment of the config. spill: where what waits goes beyond its share of memory."""
    watched = {
        code: _watched(config, deployment, code, baselines.get(name), vocabulary, spill)
        for code, (name, deployment) in enumerate(config.deployments.items())
    }
    return Core(config.tick_ms, watched, vocabulary, Orphans(ORPHAN_LIMIT), _longest_horizon(config))


def build_tallying_core(
    config: Config, baselines: Mapping[str, BaselineFile], vocabulary: Vocabulary, spill: Spill | None = None
) -> Core:
    """The core of one lane of a shard: it counts as the watching core does, and judges nothing."""
    tallies = {}
    for code, (name, deployment) in enumerate(config.deployments.items()):
        baseline = baselines.get(name)
        tallies[code] = Tally(
            config=deployment,
            code=code,
            vocabulary=vocabulary,
            joining=_joining(deployment, Segments(vocabulary, code), spill),
            specs=REGISTRY,
            detectors=detectors_for(deployment, baseline),
            baseline=baseline.digest if baseline else "",
        )
    return Core(config.tick_ms, tallies, vocabulary, Orphans(ORPHAN_LIMIT), _longest_horizon(config))


def spill_for(config: Config) -> Spill:
    """Scratch files beside the state; every deployment may have an equal share of the memory."""
    folder = Path(config.state_path)
    folder.mkdir(parents=True, exist_ok=True)
    return SpillFolder(folder, config.pending_bytes // len(config.deployments))


def build_gathering_core(config: Config, name: str, vocabulary: Vocabulary) -> tuple[Core, Collector]:
    """The core that only counts one deployment, to make its baseline."""
    deployment = config.deployments[name]
    code = vocabulary.deployments.codes[name]
    plans = {spec.name: plan_for(deployment, spec.name) for spec in GATHERED}
    labels, segments = vocabulary.action_labels(code), vocabulary.segments_of(code)
    collector = Collector(GATHERED, plans, deployment.bucket_ms, labels.names, segments.names)
    gatherer = Gatherer(deployment, vocabulary, _joining(deployment, Segments(vocabulary, code)), collector)
    return Core(
        deployment.bucket_ms, {code: gatherer}, vocabulary, Orphans(ORPHAN_LIMIT), _longest_horizon(config)
    ), collector


def _watched(
    config: Config,
    deployment: DeploymentConfig,
    code: int,
    baseline: BaselineFile | None,
    vocabulary: Vocabulary,
    spill: Spill | None,
) -> Watched:
    season = off_season(deployment, baseline.parts if baseline else {})
    windows = Windows(
        specs=REGISTRY,
        detectors=detectors_for(deployment, baseline, season),
        bucket_ms=deployment.bucket_ms,
        window_ms=deployment.window_ms,
        horizon_ms=deployment.reward_horizon_ms,
    )
    mandate = Mandate(
        deployment=deployment.name,
        fallback_policy=deployment.fallback_policy,
        rollback_policy=deployment.rollback_policy,
        settings=deployment.rules,
        bucket_ms=deployment.bucket_ms,
        window_ms=deployment.window_ms,
        lateness_ms=config.source.lateness_ms,
        dry_run=deployment.dry_run,
        baseline=baseline.digest if baseline else None,
        prices=shares_of(deployment),
        latch=deployment.latch,
        max_actions=deployment.max_actions,
        inhibit=deployment.inhibit,
    )
    pending = PendingCandidates()
    shadows = Shadows(vocabulary, code, deployment.reward_horizon_ms)
    return Watched(
        config=deployment,
        code=code,
        vocabulary=vocabulary,
        joining=_joining(deployment, Segments(vocabulary, code), spill, pending, shadows),
        windows=windows,
        judge=Judge(mandate),
        comparison_plan=plan_for(deployment, comparison.NAME),
        slow_changes=slow_changes(deployment, season),
        coverage=coverage(deployment.season, _starts_ms(baseline)),
        sequential=sequential_tests(deployment, season.parts, season, unit_options(deployment, baseline)),
        candidates=Candidates(
            life_plan(deployment, baseline.parts.get(REWARD.name) if baseline else None),
            pending,
            shadows,
            deployment.bucket_ms,
            deployment.window_ms,
            deployment.reward_horizon_ms,
            Unfinished(deployment.reward_horizon_ms),
        ),
        blindness=Blindness(_blind_limits(config, deployment, baseline)),
        loops=ClosedLoops(
            deployment.name,
            deployment.closed_loop_ms,
            config.source.lateness_ms,
            deployment.dry_run,
            {rule: deployment.approval_timeout_ms for rule, own in deployment.rules.items() if own.approval},
        ),
    )


def _blind_limits(config: Config, deployment: DeploymentConfig, baseline: BaselineFile | None) -> BlindLimits:
    blind = deployment.blind
    usual_ms = deployment.reward_horizon_ms + deployment.window_ms
    return BlindLimits(
        deployment=deployment.name,
        bucket_ms=deployment.bucket_ms,
        window_ms=deployment.window_ms,
        lateness_ms=config.source.lateness_ms,
        no_rewards_ms=usual_ms if blind.no_rewards_ms < 0 else blind.no_rewards_ms,
        join_rate=blind.join_rate,
        baseline_age_ms=blind.baseline_age_ms,
        baseline_ms=baseline.facts.last_ms + baseline.facts.bucket_ms if baseline else None,
        rewarded_share=baseline.facts.rewards / max(1, baseline.facts.decisions) if baseline else 0.0,
        dry_run=deployment.dry_run,
    )


def detectors_for(
    deployment: DeploymentConfig, baseline: BaselineFile | None, season: OffSeason | None = None
) -> dict[str, Detector]:
    """Every detector of the registry with its plan and, where there is one, its part of the baseline."""
    parts = baseline.parts if baseline else {}
    for spec in REGISTRY:
        if baseline is not None and spec.name in parts:
            _check_version(deployment, baseline, spec)
    freed = season or off_season(deployment, parts)
    units = unit_options(deployment, baseline)
    return {
        spec.name: freed.watching(
            spec.build(freed.parts.get(spec.name), with_options(plan_for(deployment, spec.name), units))
        )
        for spec in REGISTRY
    }


def _check_version(deployment: DeploymentConfig, baseline: BaselineFile, spec: Spec) -> None:
    made = baseline.facts.detectors.get(spec.name)
    same_fields = {field.name for field in fields(spec.statistic)} == set(baseline.parts[spec.name].series)
    if made != spec.version or not same_fields:
        raise BaselineError(
            f"{deployment.baseline}: its {spec.name} was counted by another version ({made}, not {spec.version}); "
            "build the baseline again"
        )


def _starts_ms(baseline: BaselineFile | None) -> Sequence[int]:
    """The buckets that the baseline holds anything of."""
    if baseline is None:
        return ()
    return max((part.starts_ms for part in baseline.parts.values()), key=len, default=())


def _joining(
    deployment: DeploymentConfig,
    segments: Segments,
    spill: Spill | None = None,
    pending: PendingCandidates | None = None,
    shadows: Shadows | None = None,
) -> Joining:
    costs = {name: cost.gamma for name, cost in deployment.costs.items() if cost.per == "episode"}
    book = None
    if deployment.returns != "reward" or costs:
        book = EpisodeBook(
            EpisodePlan(
                returns=deployment.returns,
                gamma=deployment.gamma,
                horizon_ms=deployment.reward_horizon_ms,
                n_steps=deployment.n_step,
                cost_gammas=costs,
            )
        )
    table = JoinTable(deployment.reward_horizon_ms, deployment.combine, spill)
    return Joining(
        deployment.bucket_ms, deployment.reward_horizon_ms, table, book, segments, pending, shadows
    )


def _longest_horizon(config: Config) -> int:
    return max(deployment.reward_horizon_ms for deployment in config.deployments.values())


def _found(path: Path, beside: Path) -> Path:
    return path if path.exists() or path.is_absolute() else beside / path


def build_pipeline(config: Config, core: Core, vocabulary: Vocabulary) -> Pipeline:
    """The core with the decoder and the clocks that feed it."""
    limits = TimeLimits(config.source.lateness_ms, _longest_horizon(config), config.source.max_ahead_ms)
    return Pipeline(
        core, vocabulary, _decode_settings(config, vocabulary), limits, Watermark(config.source.lateness_ms)
    )


def _decode_settings(config: Config, vocabulary: Vocabulary) -> DecodeSettings:
    names = list(config.deployments)
    return DecodeSettings(
        deployments={
            name: DeploymentSettings(
                state_width=vocabulary.state_width.get(vocabulary.deployments.codes[name]),
                policies=frozenset(deployment.policies) or None,
                envelope=_envelope(deployment),
            )
            for name, deployment in config.deployments.items()
        },
        default_deployment=names[0] if len(names) == 1 else None,
        fields=config.fields,
        format=Format.VW_DSJSON if config.source.format == "vw-dsjson" else Format.POLICYWATCH,
        dsjson=DsjsonSettings(
            policy=config.dsjson.policy, time=DsjsonTime(config.dsjson.time), features=config.dsjson.features
        ),
        max_record_bytes=config.source.max_record_bytes,
    )


def _envelope(deployment: DeploymentConfig) -> Envelope:
    box = deployment.envelope
    return Envelope(frozenset(box.actions) or None, box.low or None, box.high or None)
