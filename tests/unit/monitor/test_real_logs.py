"""Logs that nobody here wrote decode whole."""

import numpy as np
import pytest

from monitor.batch import EventBatch, Rejected
from monitor.decoding.decode import decode
from monitor.decoding.decode_settings import (
    DecodeSettings,
    DeploymentSettings,
    DsjsonSettings,
    DsjsonTime,
    Format,
)
from monitor.event_files import read_blocks
from monitor.frames import concat
from monitor.vocabulary import Labels, Vocabulary
from tests.paths import shared_data


def log(name: str, deployment: str, **how: object) -> tuple[list[EventBatch], list[Rejected], Vocabulary]:
    """A whole file in polls of 5,000 lines."""
    settings = DecodeSettings({deployment: DeploymentSettings()}, deployment, **how)  # type: ignore[arg-type]
    words = Vocabulary(Labels(1, [deployment], {deployment: 0}))
    batches, rejected = [], []
    for block in read_blocks(str(shared_data() / name)):
        batch, refused = decode(block.partition, block.offsets, block.payloads, None, words, settings)
        batches.append(batch)
        rejected += refused
    return batches, rejected, words


@pytest.mark.parametrize(
    ("name", "deployment", "decisions", "rewards", "width"),
    [
        ("zozo-men-switch.jsonl.gz", "fashion-home", 20_000, 20_000, 6),
        ("pendulum-gravity.jsonl.gz", "pendulum", 11_000, 11_000, 3),
        ("pendulum-null.jsonl.gz", "pendulum", 11_000, 11_000, 3),
        ("battery-pv-fault.jsonl.gz", "battery", 8_759, 8_759, 7),
        ("battery-null.jsonl.gz", "battery", 8_759, 8_759, 7),
        ("vw-multi-reward.jsonl.gz", "vw-test", 100, 281, 1),
    ],
)
def test_a_real_log_decodes_whole(
    name: str, deployment: str, decisions: int, rewards: int, width: int
) -> None:
    batches, rejected, words = log(name, deployment)
    assert rejected == []
    assert sum(len(batch.decisions.get(0, ())) for batch in batches) == decisions
    assert sum(len(batch.rewards) for batch in batches) == rewards
    assert words.state_width == {0: width}
    assert batches[-1].next_offset == decisions + rewards + 1


def test_the_switch_log_shows_its_switch_and_its_clicks() -> None:
    batches, _, words = log("zozo-men-switch.jsonl.gz", "fashion-home")
    table = concat([batch.decisions[0] for batch in batches])
    assert words.policies.names == ["random-1", "bts-1"]
    assert np.bincount(table.policy).tolist() == [10_000, 10_000]
    assert table.ts_ms[table.policy == 1].min() == 1_575_158_463_979
    assert len(words.action_labels(0).names) == 34
    assert concat([batch.rewards for batch in batches]).reward.sum() == 46 + 69
    weights = table.candidates["bts-prior"][:10_000, 0] / table.propensity[:10_000]
    assert weights.max() == pytest.approx(10.7, abs=0.05)
    assert weights.mean() == pytest.approx(0.9847, abs=5e-5)


def test_the_pendulum_log_has_a_cost_and_the_entropy_of_its_policy() -> None:
    batches, _, _ = log("pendulum-null.jsonl.gz", "pendulum")
    table = concat([batch.decisions[0] for batch in batches])
    probs = [
        0.52442471,
        0.32245155,
        0.08058055,
        0.01681351,
        0.01128331,
        0.01111302,
        0.01111112,
        0.01111111,
        0.01111111,
    ]
    assert table.entropy[0] == pytest.approx(-sum(p * np.log(p) for p in probs), rel=1e-12)
    assert set(np.unique(table.costs["unsafe"]).tolist()) == {0.0, 1.0}
    assert len(np.unique(table.episode)) == 55


def test_a_personalizer_line_is_a_decision_and_its_reward() -> None:
    batches, rejected, words = log("vw-personalizer.dsjson.gz", "shop", format=Format.VW_DSJSON)
    (batch,) = batches
    table, rewards = batch.decisions[0], batch.rewards
    assert rejected == []
    assert (len(table), len(rewards), len(batch)) == (23, 23, 46)
    assert batch.offsets[:4].tolist() == [1, 1, 2, 2]
    assert table.ts_ms[0] == rewards.ts_ms[0] == 1_612_456_289_246
    assert (table.id == rewards.id).all()
    assert words.action_labels(0).names[:2] == ["4", "1"]
    assert table.propensity[:2] == pytest.approx([0.05, 0.85])
    assert table.entropy[0] == pytest.approx(-(0.85 * np.log(0.85) + 3 * 0.05 * np.log(0.05)))
    assert rewards.reward[:4].tolist() == [0.0, 1.0, 0.0, 1.0]


def test_decision_service_lines_have_no_time_and_are_read_by_line_number_only_when_asked() -> None:
    _, rejected, _ = log("vw-decision-service.dsjson.gz", "shop", format=Format.VW_DSJSON)
    assert [(one.reason, one.offset) for one in rejected] == [
        ("missing_field", 1),
        ("missing_field", 2),
        ("missing_field", 3),
    ]
    by_line = DsjsonSettings(time=DsjsonTime.OFFSET, policy="v7")
    (batch,), rejected, words = log(
        "vw-decision-service.dsjson.gz", "shop", format=Format.VW_DSJSON, dsjson=by_line
    )
    assert rejected == []
    assert batch.decisions[0].ts_ms.tolist() == [1_000, 2_000, 3_000]
    assert batch.decisions[0].propensity == pytest.approx([0.8166667] * 3)
    assert batch.rewards.reward.tolist() == [1.0, 0.0, 1.0]
    assert (words.policies.names, words.action_labels(0).names) == (["v7"], ["10"])
