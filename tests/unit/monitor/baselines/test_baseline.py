"""The baseline artefact: whole or not at all, the same after a round trip, refused in words where it does not fit."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.protocol import Baseline
from monitor.assembly import detectors_for
from monitor.baselines.baseline import FILE_NAME, BaselineError, BaselineFile, Facts, load, save
from monitor.baselines.building import build_baseline
from monitor.replaying import Observer
from monitor.source import Files
from tests.unit.monitor.configs import config
from tests.unit.monitor.worlds import T0, decision, reward, small

FACTS = Facts(
    deployment="home", decisions=30, rewards=20, first_ms=T0, last_ms=T0 + 20_000, bucket_ms=10_000, state_width=2,
    labels=("a", "ä"), policies=("v1",), settings={"gamma": 0.0}, detectors={"reward": 1},
)  # fmt: skip
PARTS = {
    "reward": Baseline(
        {"edges": np.arange(3.0)},
        {"sums": np.arange(6.0).reshape(3, 2)},
        [T0, T0 + 10_000, T0 + 20_000],
        10_000,
    ),
    "costs": Baseline({"names": np.array(["ärger"])}, {}, [], 10_000),
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(tmp_path / "home", FACTS, PARTS)
    return tmp_path / "home"


def test_what_is_saved_is_loaded_again(saved: Path) -> None:
    back = load(saved)
    assert back.facts == FACTS
    assert back.span_ms == 30_000
    assert back.parts["reward"].starts_ms == PARTS["reward"].starts_ms
    assert back.parts["reward"].labels == FACTS.labels
    assert (back.parts["reward"].series["sums"] == PARTS["reward"].series["sums"]).all()
    assert back.parts["costs"].schema["names"].tolist() == ["ärger"]


def test_the_hash_is_of_the_content_alone(tmp_path: Path) -> None:
    assert save(tmp_path / "one", FACTS, PARTS) == save(
        tmp_path / "two", FACTS, dict(reversed(PARTS.items()))
    )
    other = {"reward": PARTS["reward"], "costs": Baseline({"names": np.array(["b"])}, {}, [], 10_000)}
    assert save(tmp_path / "three", FACTS, other) != load(tmp_path / "one").digest


def test_a_folder_may_be_named_instead_of_the_file(tmp_path: Path) -> None:
    save(tmp_path, FACTS, PARTS)
    assert (tmp_path / FILE_NAME).exists()
    assert load(tmp_path).facts == FACTS
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]  # nothing half written is left


def test_a_missing_baseline_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="baseline build"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04 and so on", b"{}", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_baseline_is_a_plain_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(BaselineError):
        load(tmp_path / "b")


def test_a_plain_array_is_no_baseline(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(BaselineError):
        load(tmp_path / "b.npy")


def test_a_damaged_byte_anywhere_is_seen_or_harmless(saved: Path) -> None:
    content, whole = saved.read_bytes(), load(saved).digest
    for at in range(0, len(content), 7):
        saved.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            assert load(saved).digest == whole
        except BaselineError:
            continue


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_a_plain_error(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BaselineError):
        load(saved)


def changed_meta(path: Path, change: dict[str, Any], *, keep_hash: bool = False) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    table = json.loads(bytes(arrays["meta"]).decode()) | change
    arrays["meta"] = np.frombuffer(json.dumps(table, sort_keys=True).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, **arrays)


def test_a_baseline_of_another_format_is_refused_by_its_number(saved: Path) -> None:
    changed_meta(saved, {"format": 99})
    with pytest.raises(BaselineError, match="format 99, this version reads 1"):
        load(saved)


def test_content_that_does_not_match_its_hash_is_refused(saved: Path) -> None:
    changed_meta(saved, {"decisions": 31})
    with pytest.raises(BaselineError, match="does not match its hash"):
        load(saved)


def test_pickled_content_is_never_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", meta=np.array([{"a": 1}], object), digest=np.zeros(1))
    with pytest.raises(BaselineError):
        load(tmp_path / "b.npz")


def test_the_artefact_holds_arrays_only(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        assert all(name.endswith(".npy") for name in archive.namelist())


def written(tmp_path: Path, seconds: int = 40) -> str:
    log = [decision(f"d{i}", i) for i in range(seconds)] + [
        reward(f"d{i}", i + 1, i % 2) for i in range(seconds)
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(e) + "\n" for e in sorted(log, key=lambda e: e["ts"])))
    return str(path)


def built(tmp_path: Path, **changed: Any) -> BaselineFile:
    build_baseline(
        small(**changed), "home", Files([written(tmp_path)], 1 << 20), tmp_path / "home", Observer()
    )
    return load(tmp_path / "home")


def test_a_baseline_counts_every_accepted_decision_and_reward(tmp_path: Path) -> None:
    baseline = built(tmp_path)
    facts = baseline.facts
    assert (facts.decisions, facts.rewards, facts.policies) == (40, 40, ("v1",))
    assert baseline.parts["reward"].series["decisions"].sum() == 40


def test_every_reward_horizon_is_waited_out(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(decision(f"d{i}", i)) + "\n" for i in range(40)))
    home = {"bucket": "10s", "window": "1m", "reward_horizon": "30s", "missing_reward": "zero"}
    build_baseline(
        small(deployments__home=home), "home", Files([str(log)], 1 << 20), tmp_path / "home", Observer()
    )
    moments = load(tmp_path / "home").parts["reward"].series["moments"]
    assert moments[:, 0, 0].sum() == 40  # all forty got their zero, those of the last half minute too


def test_a_baseline_counted_by_another_version_is_refused_by_name(tmp_path: Path) -> None:
    baseline = built(tmp_path)
    facts = {**baseline.facts.detectors, "reward": 99}
    old = BaselineFile(
        Facts(
            **{
                **{name: getattr(baseline.facts, name) for name in Facts.__dataclass_fields__},
                "detectors": facts,
            }
        ),
        baseline.parts,
        baseline.digest,
    )
    with pytest.raises(BaselineError, match="its reward was counted by another version"):
        detectors_for(config().deployments["home"], old)


def test_a_log_without_decisions_makes_no_baseline(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(reward("a", 1)) + "\n")
    with pytest.raises(BaselineError, match="no decision"):
        build_baseline(small(), "home", Files([str(log)], 1 << 20), tmp_path / "home", Observer())
    assert not (tmp_path / "home").exists()
