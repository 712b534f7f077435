"""How far units (users, sessions) make means, states and actions of a deployment stray, as its baseline shows it."""

from typing import Any

from detectors.protocol import Spec
from detectors.units import clusters, units
from detectors.units import vectors as unit_vectors
from detectors.units.clusters import CLUSTERS
from detectors.units.vectors import UNIT_VECTORS
from detectors.windows.mean_shift import window_in
from monitor.baselines.baseline import BaselineFile
from monitor.config import DeploymentConfig
from monitor.judging.plans import plan_for


def unit_options(config: DeploymentConfig, baseline: BaselineFile | None) -> dict[str, Any]:
    """The same as options of the detectors' plans; none where the baseline names no units, or was made before."""
    part = baseline.parts.get(clusters.NAME) if baseline is not None else None
    found: dict[str, Any] = {}
    if part is not None and _is_ours(baseline, CLUSTERS):
        found[clusters.OPTION] = clusters.of_baseline(part, window_in(part, plan_for(config, clusters.NAME)))
    vectors = baseline.parts.get(unit_vectors.NAME) if baseline is not None else None
    if vectors is not None and baseline is not None and _is_ours(baseline, UNIT_VECTORS):
        found[units.OPTION] = units.of_baseline(vectors, float(baseline.facts.decisions))
    return found


def _is_ours(baseline: BaselineFile | None, spec: Spec) -> bool:
    return baseline is not None and baseline.facts.detectors.get(spec.name) == spec.version
