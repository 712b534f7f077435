"""How far units (users, sessions) make the means of a deployment stray, as its baseline shows it."""

from typing import Any

from detectors import clusters
from detectors.mean_shift import window_in
from monitor.baselines.baseline import BaselineFile
from monitor.config import DeploymentConfig
from monitor.judging.plans import plan_for


def unit_options(config: DeploymentConfig, baseline: BaselineFile | None) -> dict[str, Any]:
    """How far units make means stray, as options of the detectors' plans; none where the baseline names no units."""
    part = baseline.parts.get(clusters.NAME) if baseline is not None else None
    if part is None or baseline is None:
        return {}
    if baseline.facts.detectors.get(clusters.NAME) != clusters.CLUSTERS.version:
        return {}
    return {clusters.OPTION: clusters.of_baseline(part, window_in(part, plan_for(config, clusters.NAME)))}
