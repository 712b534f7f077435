"""A declared season reaches every detector, the slow changes and the sequential tests of a deployment."""

import json
from pathlib import Path

import numpy as np

from detectors.rewards.deseasonalised import Deseasonalised
from monitor.assembly import detectors_for
from monitor.baselines.baseline import BaselineFile, load
from monitor.baselines.building import build_baseline
from monitor.config import Config
from monitor.judging.seasons import off_season
from monitor.judging.slow_changes import slow_changes
from monitor.replaying import Observer
from monitor.source import Files
from tests.unit.monitor.worlds import decision, reward, small

HOURS = 72


def of_home(season: str) -> Config:
    home = {"bucket": "1h", "window": "6h", "reward_horizon": "10m", "fallback_policy": "rules-v3"}
    return small(deployments__home={**home, "season": season})


def three_days(folder: Path) -> BaselineFile:
    """Ten decisions an hour whose reward, state and critic's error follow the day."""
    rng = np.random.default_rng(5)
    with (folder / "log.jsonl").open("w") as log:
        for i in range(HOURS * 10):
            at, phase = i * 360, 2 * np.pi * (i // 10) / 24
            made = decision(f"d{i}", at, state=[np.sin(phase) + rng.normal() / 9], value=1.0, action=i % 3)
            log.write(json.dumps(made) + "\n")
            log.write(json.dumps(reward(f"d{i}", at + 1, 1 + np.sin(phase) + rng.normal() / 9)) + "\n")
    build_baseline(
        of_home("none"), "home", Files([str(folder / "log.jsonl")], 1 << 20), folder / "home", Observer()
    )
    return load(folder / "home")


def test_a_declared_season_is_taken_off_everything_that_compares(tmp_path: Path) -> None:
    baseline = three_days(tmp_path)
    deployment = of_home("hour-of-day").deployments["home"]
    watching = detectors_for(deployment, baseline)
    freed = {name for name, detector in watching.items() if isinstance(detector, Deseasonalised)}
    assert freed == {
        "reward", "state_kl", "state_mmd", "state_moments", "action_mix", "critic", "critic_groups", "proxy"
    }  # fmt: skip
    plain, free = (
        slow_changes(of_home(season).deployments["home"], off_season(of_home(season).deployments["home"],
        baseline.parts)) for season in ("none", "hour-of-day")
    )  # fmt: skip
    assert free.scales["reward"].sd < 0.2 * plain.scales["reward"].sd


def test_without_a_declared_season_nothing_is_touched(tmp_path: Path) -> None:
    baseline = three_days(tmp_path)
    deployment = of_home("none").deployments["home"]
    assert off_season(deployment, baseline.parts).parts is baseline.parts
    assert not any(isinstance(d, Deseasonalised) for d in detectors_for(deployment, baseline).values())
