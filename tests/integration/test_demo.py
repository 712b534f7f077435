"""`policywatch demo`, shortened: the loop closes through real processes and sockets, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from monitor.demo.recording import MARKS, load_recording
from tests.paths import ROOT

PATIENCE_S = 150.0  # two busy cores; some 25 s when they are not


def test_loop_closes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    demo = _start(out)
    said, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 0, said
    recording = load_recording(out / "recording.json")
    times = [recording.marks[name] for name in MARKS]
    assert times == sorted(times)
    assert [one.data["kind"] for one in recording.received if one.verdict == "applied"] == ["fallback"]
    assert all(one.at_ms > recording.marks["change"] for one in recording.received)
    assert len(recording.refused) == 1, "the forged webhook"
    assert recording.act is not None
    assert recording.act.data["reason"] in (out / "report.html").read_text()
    assert recording.act.data["reason"] in said
    assert _left_of(demo) == []


def test_loop_closes_through_a_real_broker_whose_topics_are_deleted_afterwards(
    tmp_path: Path, kafka_bootstrap: str
) -> None:
    out = tmp_path / "out"
    demo = _start(out, "--kafka", kafka_bootstrap)
    said, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 0, said
    assert load_recording(out / "recording.json").broker == kafka_bootstrap
    consumer = KafkaConsumer(bootstrap_servers=kafka_bootstrap)
    assert [name for name in consumer.topics() if name.startswith("policywatch-demo-")] == []
    consumer.close()


def test_traffic_alone_goes_to_the_usual_topics(tmp_path: Path, kafka_bootstrap: str) -> None:
    out = tmp_path / "out"
    demo = _start(out, "--kafka", kafka_bootstrap, "--produce-only", seconds="4")
    said, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 0, said
    assert "60,000 events" in said
    consumer = KafkaConsumer(bootstrap_servers=kafka_bootstrap)
    for topic in ("rl.decisions", "rl.rewards"):
        partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))]
        assert all(end > 50 for end in consumer.end_offsets(partitions).values())
    consumer.close()
    assert _left_of(demo) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    demo = _start(out)
    assert demo.stdout is not None
    try:
        for line in demo.stdout:
            if "the daemon starts" in line:
                break
        assert len(_session(demo.pid)) >= 4, "demo, broker, serving layer, daemon"
        os.killpg(demo.pid, number) if number == signal.SIGINT else demo.send_signal(number)
        said, _ = demo.communicate(timeout=30)
    finally:
        demo.kill()
    assert demo.returncode == 130, said
    assert "Traceback" not in said
    assert _left_of(demo) == []


def test_unreachable_broker_is_said_in_words(tmp_path: Path) -> None:
    demo = _start(tmp_path / "out", "--kafka", "127.0.0.1:1")
    said, _ = demo.communicate(timeout=60)
    assert demo.returncode == 3, said
    assert "127.0.0.1:1: no broker answers" in said
    assert "Traceback" not in said


def _start(out: Path, *more: str, seconds: str = "18") -> "subprocess.Popen[str]":
    arguments = ["demo", "--seconds", seconds, "--seed", "3", "--out", str(out), *more]
    # Tests that run in the background ignore SIGINT, and so would the demo; what is handled begins anew in a child.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "monitor.cli", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)


def _left_of(demo: "subprocess.Popen[str]") -> list[str]:
    """Processes of the demo's session, once those that are ending have had a second."""
    for _ in range(10):
        found = _session(demo.pid)
        if not found:
            return []
        time.sleep(0.1)
    return found


def _session(sid: int) -> list[str]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "sid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [row[2] for row in rows if row[0] == str(sid) and not row[1].startswith("Z")]
