"""Every kind of unusable record, by Kafka and by `replay`: counted, dead-lettered, and nothing else is lost."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from monitor.cli import parser
from monitor.commands import replay as replay_command
from tests.integration.conftest import MakeSite
from tests.integration.running import Process, Site, read_topic, until
from tests.integration.traffic import START_MS, Event, World, decision, events, wire, write_file

pytestmark = pytest.mark.kafka

HOUR_MS, WEEK_MS = 3_600_000, 7 * 86_400_000
MIDDLE_MS = START_MS + 5_000


def _bad_decisions() -> list[tuple[str, bytes | None]]:
    """Reason and payload, for the middle of the log."""
    rng = random.Random(4)

    def bad(number: int, **changed: Any) -> bytes:
        return wire(decision(900_000 + number, MIDDLE_MS, rng, **changed))

    return [
        ("bad_json", b'{"type":"decision","decision_id":'),
        ("bad_utf8", bad(1).replace(b'"v1"', b'"v\xff\xfe"')),
        ("missing_field", bad(2, action=...)),
        ("missing_field", bad(3, decision_id=...)),
        ("wrong_type", bad(4, policy=12)),
        ("wrong_type", bad(5, state="up")),
        ("not_finite", bad(6, state=[0.0, float("nan"), 1.0])),
        ("not_finite", bad(7, value=float("inf"))),
        ("propensity_range", bad(8, propensity=0)),
        ("propensity_range", bad(9, propensity=1.7)),
        ("propensity_range", bad(10, propensity=-0.3)),
        ("state_length", bad(11, state=[1.0, 2.0])),
        ("unknown_deployment", bad(12, deployment="somewhere-else")),
        ("future", wire(decision(900_013, MIDDLE_MS + 2 * HOUR_MS, rng))),
        ("late", wire(decision(900_014, MIDDLE_MS - 3 * WEEK_MS, rng))),
        ("oversize", bad(15, note="x" * (5 << 20))),
    ]


def _log() -> tuple[list[Event], list[tuple[str, bytes | None, str]]]:
    """Good events; and bad records as (reason, payload, kind of topic) to be put in the middle of them."""
    made = events(World(10))
    middle = [event for event in made if event["type"] == "decision" and event["ts"] < MIDDLE_MS]
    bad = [(reason, payload, "decisions") for reason, payload in _bad_decisions()]
    bad.append(("duplicate", wire(middle[-1]), "decisions"))
    stranger = {"type": "reward", "decision_id": "never-made", "ts": MIDDLE_MS, "reward": 1.0}
    bad.append(("unknown_decision", wire(stranger), "rewards"))
    return made, bad


def test_bad_records_in_kafka_are_counted_and_dead_lettered_and_all_good_ones_count(
    make_site: MakeSite, producer: KafkaProducer, kafka_bootstrap: str
) -> None:
    site = make_site()
    _allow_large_records(site)
    made, bad = _log()
    bad.append(("tombstone", None, "decisions"))
    _produce_around(producer, site, made, bad)
    wanted = Counter(reason for reason, _, _ in bad)
    with Process(site) as daemon:
        until(lambda: Counter(daemon.status()["rejected"]) == wanted, what=f"{wanted}, each counted")
        until(
            lambda: sum(line["decisions"] for line in daemon.logged("bucket_sealed")) == 400,
            what="400 decisions",
        )
        metrics = daemon.get("/metrics")[1]
        assert 'reason="propensity_range"' in metrics
        letters = until(
            lambda: _letters(kafka_bootstrap, site.topics["dead_letters"], sum(wanted.values())),
            what="every dead letter",
        )
        assert daemon.get("/-/healthy")[0] == 200
        code, took_s = daemon.stop()
        assert code == 0
        assert took_s < 10
        assert "Traceback" not in daemon.text()
    assert Counter(letter["reason"] for letter in letters) == wanted
    for letter in letters:
        topic = site.topics["rewards" if letter["reason"] == "unknown_decision" else "decisions"]
        assert letter["partition"] == f"{topic}/0"
        assert isinstance(letter["offset"], int)
    assert len({(letter["reason"], letter["offset"]) for letter in letters}) == len(letters)


def test_bad_lines_of_a_file_are_counted_and_dead_lettered_and_all_good_ones_count(
    make_site: MakeSite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site()
    made, bad = _log()
    lines: list[Event | bytes] = []
    for event in made:
        if bad and event["ts"] >= MIDDLE_MS:
            lines += [payload for _, payload, _ in bad if payload is not None]
            wanted, bad = Counter(reason for reason, _, _ in bad), []
        lines.append(event)
    log = write_file(tmp_path / "log.jsonl", lines)
    arguments = [
        "replay",
        "-c",
        str(site.path),
        str(log),
        "--json",
        "--dead-letters",
        str(tmp_path / "dead.jsonl"),
    ]
    assert replay_command.run(parser().parse_args(arguments)) == 0
    found = json.loads(capsys.readouterr().out)
    assert Counter(found["rejected"]) == wanted
    assert found["events"] >= 800
    letters = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert Counter(letter["reason"] for letter in letters) == Counter(found["rejected"])
    assert {letter["partition"] for letter in letters} == {str(log)}


def _produce_around(
    producer: KafkaProducer, site: Site, made: list[Event], bad: list[tuple[str, bytes | None, str]]
) -> None:
    for event in made:
        if bad and event["ts"] >= MIDDLE_MS:
            for _, payload, kind in bad:
                producer.send(site.topics[kind], payload, key=b"k", partition=0)
            bad = []
        producer.send(site.topics[event["type"] + "s"], wire(event), partition=0)
    producer.flush(timeout=30)


def _letters(bootstrap: str, topic: str, count: int) -> list[dict[str, Any]]:
    found = [json.loads(record) for record in read_topic(bootstrap, topic)]
    return found if len(found) >= count else []


def _allow_large_records(site: Site) -> None:
    """The broker refuses 5 MB unless told otherwise."""
    from kafka import KafkaAdminClient
    from kafka.admin import ConfigResource, ConfigResourceType

    admin = KafkaAdminClient(bootstrap_servers=site.bootstrap)
    large = {"max.message.bytes": str(16 << 20)}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, site.topics["decisions"], configs=large)])
    admin.close()
