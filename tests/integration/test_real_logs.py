"""What the issue asks of real logs, through the whole pipeline: baseline, replay, signals."""

import gzip
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from alerts.signal import Signal
from monitor.assembly import build_core, build_pipeline, load_baselines, vocabulary_for
from monitor.baselines.building import build_baseline
from monitor.config import Config
from monitor.config_file import load_config
from monitor.replaying import Observer, replay
from monitor.source import Files
from tests.paths import shared_data

GRAVITY_MS = 1_767_231_100_000  # step 5,500
SWITCH_MS = 1_575_158_463_979
FAULT_MS = 1_675_080_000_000

PENDULUM = """
[deployments.pendulum]
fallback_policy = "upright-v1"
gamma = 0.95
returns = "td"
reward_horizon = "30s"
"""
ZOZO = """
[deployments.fashion-home]
fallback_policy = "random-1"
reward_horizon = "15m"
bucket = "1h"
window = "1d"
"""
BATTERY = """
[deployments.battery]
fallback_policy = "rules"
gamma = 0.95
returns = "td"
reward_horizon = "6h"
bucket = "1h"
window = "7d"
"""


def test_heavier_gravity_falls_back_after_the_change_and_never_before(tmp_path: Path) -> None:
    signals = replayed(tmp_path, PENDULUM, whole("pendulum-null"), whole("pendulum-gravity"))
    fallbacks = [signal for signal in signals if signal.kind == "fallback" and signal.state == "firing"]
    assert {signal.rule for signal in fallbacks} >= {"reward", "state"}
    assert min(signal.time_ms for signal in signals) > GRAVITY_MS
    assert min(signal.time_ms for signal in fallbacks) < GRAVITY_MS + 15 * 60_000


def test_pendulum_without_a_change_is_silent(tmp_path: Path) -> None:
    assert replayed(tmp_path, PENDULUM, whole("pendulum-null"), whole("pendulum-null")) == []


def test_second_half_of_the_quiet_pendulum_is_silent_against_its_first(tmp_path: Path) -> None:
    lines = whole("pendulum-null")
    assert replayed(tmp_path, PENDULUM, lines[:11_000], lines[11_000:]) == []


def test_a_new_policy_with_another_mix_is_paged_at_the_switch_and_nothing_falls_back(tmp_path: Path) -> None:
    lines = whole("zozo-men-switch")
    signals = replayed(tmp_path, ZOZO, lines[:20_000], lines)
    pages = [signal for signal in signals if signal.rule == "actions"]
    assert [signal.kind for signal in pages] == ["page"]
    assert SWITCH_MS < pages[0].time_ms < SWITCH_MS + 24 * 3_600_000
    assert {signal.kind for signal in signals} == {"page"}
    assert not [signal for signal in signals if signal.rule in ("state", "reward")]


@pytest.fixture(scope="module")
def a_year_of_battery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the battery's baseline, the whole quiet year."""
    folder = tmp_path_factory.mktemp("battery")
    built(folder, BATTERY, whole("battery-null"))
    return folder


@pytest.mark.slow
def test_a_solar_fault_is_found_and_the_half_year_before_it_is_silent(a_year_of_battery: Path) -> None:
    signals = judged(a_year_of_battery, BATTERY, whole("battery-pv-fault")[:13_000])
    assert signals
    assert min(signal.time_ms for signal in signals) > FAULT_MS


@pytest.mark.slow
def test_a_quiet_year_of_battery_is_silent_against_itself(a_year_of_battery: Path) -> None:
    assert judged(a_year_of_battery, BATTERY, whole("battery-null")) == []


@pytest.mark.slow
def test_a_year_is_unknown_not_wrong_beyond_the_first_weeks_that_a_baseline_has_seen(tmp_path: Path) -> None:
    """Declared as a season: autumn and winter are no divergence of the states, and no health either."""
    seasonal = BATTERY + 'season = "year"\n'
    assert replayed(tmp_path, seasonal, whole("battery-null")[:4_000], whole("battery-null")) == []


def whole(name: str) -> list[bytes]:
    """The lines of a real log."""
    with gzip.open(shared_data() / f"{name}.jsonl.gz", "rb") as file:
        return file.readlines()


def replayed(folder: Path, deployment: str, accepted: Sequence[bytes], log: Sequence[bytes]) -> list[Signal]:
    """The signals of a log against a baseline of accepted events."""
    built(folder, deployment, accepted)
    return judged(folder, deployment, log)


def built(folder: Path, deployment: str, accepted: Sequence[bytes]) -> None:
    """A baseline of accepted events in the folder."""
    config, name = configured(folder, deployment)
    path = folder / "accepted.jsonl"
    path.write_bytes(b"".join(accepted))
    shutil.rmtree(folder / "baseline", ignore_errors=True)
    build_baseline(config, name, Files([str(path)], 1 << 20), folder / "baseline", Observer())


def judged(folder: Path, deployment: str, log: Sequence[bytes]) -> list[Signal]:
    """The signals of a log against the folder's baseline."""
    config, _ = configured(folder, deployment)
    path = folder / "log.jsonl"
    path.write_bytes(b"".join(log))
    baselines = load_baselines(config, folder)
    vocabulary = vocabulary_for(config, baselines)
    pipeline = build_pipeline(config, build_core(config, baselines, vocabulary), vocabulary)
    signals: list[Signal] = []
    summary = replay(pipeline, Files([str(path)], 1 << 20), Observer(on_signal=signals.append))
    assert summary.events == len(log)
    return signals


def configured(folder: Path, deployment: str) -> tuple[Config, str]:
    """The config of one deployment with a baseline beside it."""
    path = folder / "watch.toml"
    path.write_text(f'[source]\nkind = "files"\n{deployment}baseline = "baseline"\n')
    config = load_config(path)
    return config, next(iter(config.deployments))
