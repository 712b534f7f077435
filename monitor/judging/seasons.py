"""A deployment's baseline with its declared season taken off, and what live buckets are freed of it with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from detectors.protocol import Baseline, Detector
from detectors.registry import REGISTRY
from detectors.rewards.deseasonalised import Deseasonalised, Seasons, without_season
from detectors.statistic import Statistic
from monitor.config import DeploymentConfig


@dataclass(frozen=True, slots=True)
class OffSeason:
    """parts: the baseline, freed where its length allows it. seasons: detector -> what its buckets are freed with."""

    parts: Mapping[str, Baseline] = field(default_factory=dict)
    seasons: Mapping[str, Seasons] = field(default_factory=dict)

    def bucket(self, detector: str, start_ms: int, bucket: Statistic) -> Mapping[str, np.ndarray]:
        """One live bucket's arrays, freed of the usual hour."""
        arrays = bucket.arrays()
        found = self.seasons.get(detector)
        return arrays if found is None else found.bucket(start_ms, arrays)

    def watching(self, detector: Detector) -> Detector:
        """The detector, shown windows that are freed like its baseline."""
        found = self.seasons.get(detector.name)
        return detector if found is None else Deseasonalised(detector, found)


def off_season(deployment: DeploymentConfig, parts: Mapping[str, Baseline]) -> OffSeason:
    """As it is without a declared season, or where the baseline is too short for it."""
    if deployment.season == "none":
        return OffSeason(parts)
    freed, seasons = dict(parts), {}
    for spec in REGISTRY:
        if spec.name not in parts or not spec.rates:
            continue
        freed[spec.name], found = without_season(
            parts[spec.name], spec.rates, deployment.bucket_ms, deployment.season
        )
        if found is not None:
            seasons[spec.name] = found
    return OffSeason(freed, seasons)
