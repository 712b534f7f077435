"""Produced events in, a verified webhook out: `policywatch run` beside a real broker."""

import json
import signal
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaProducer
from standardwebhooks import Webhook

from tests.bench.violation_latency import measure
from tests.contracts.http_receiver import HttpReceiver
from tests.integration.conftest import MakeSite
from tests.integration.replayed import replayed
from tests.integration.running import SECRET, Process, committed, read_topic, until
from tests.integration.traffic import START_MS, World, events, partition_of, produce

pytestmark = pytest.mark.kafka


def test_reward_that_falls_becomes_a_verified_webhook_and_a_record_of_the_signals_topic(
    make_site: MakeSite, producer: KafkaProducer, receiver: HttpReceiver, kafka_bootstrap: str
) -> None:
    site = make_site()
    site.webhook = receiver.url
    site.write()
    made = events(World(50, change_s=25))
    produce(producer, site.topics, made)
    with Process(site) as daemon:
        until(lambda: receiver.requests, what="a webhook")
        request = receiver.requests[0]
        event = Webhook(SECRET).verify(request.body, request.headers)
        data = event["data"]
        assert (data["kind"], data["state"], data["rule"]) == ("fallback", "firing", "reward")
        assert data["to_policy"] == "rules"
        assert "serving was told to fall back to rules" in data["reason"]
        assert request.headers["webhook-id"] == event["id"] == data["id"]
        until(
            lambda: read_topic(kafka_bootstrap, site.topics["signals"]), what="a record in the signals topic"
        )
        (record,) = read_topic(kafka_bootstrap, site.topics["signals"])
        assert json.loads(record) == event
        read = {kind: sum(e["type"] == kind for e in made) for kind in ("decision", "reward")}
        for kind, count in read.items():
            topic = site.topics[f"{kind}s"]
            until(partial(_stands, kafka_bootstrap, site.group, topic, count), what=f"commit of {topic}")
        code, took_s = daemon.stop()
        assert code == 0
        assert took_s < 10
    assert len(receiver.requests) == 1


def test_two_partitions_of_different_speed_lose_nothing_and_none_is_late(
    make_site: MakeSite, producer: KafkaProducer, tmp_path: Path
) -> None:
    """The slow partition comes whole when the fast one has been read to its end; time had to wait for it."""
    site = make_site(partitions=2)
    site.write('idle_timeout = "4s"')
    made = events(World(40, change_s=20))
    fast = [event for event in made if partition_of(event, 2) == 0]
    slow = [event for event in made if partition_of(event, 2) == 1]
    head, tail = slow[:200], slow[200:]
    with Process(site) as daemon:
        produce(producer, site.topics, [*head, *fast], 2)
        ends = {kind: sum(e["type"] == kind for e in fast) for kind in ("decision", "reward")}
        daemon.await_positions({f"{site.topics[f'{kind}s']}/0": n for kind, n in ends.items()})
        produce(producer, site.topics, tail, 2)
        expected = replayed(site.path, made, tmp_path)
        until(lambda: daemon.status()["events"] == len(made), what="every event read")
        until(lambda: len(daemon.logged("bucket_sealed")) >= len(expected.sealed), what="every bucket sealed")
        counted = [(line["end"], line["decisions"]) for line in daemon.logged("bucket_sealed")]
        assert counted == expected.counts
        assert daemon.status()["rejected"] == {}
        assert [line["id"] for line in daemon.logged("alert_fired")] == expected.ids
        assert daemon.stop()[0] == 0


def test_health_readiness_status_and_metrics_answer_and_a_reload_keeps_or_takes_the_config(
    make_site: MakeSite, producer: KafkaProducer
) -> None:
    site = make_site()
    produce(producer, site.topics, events(World(10)))
    with Process(site) as daemon:
        daemon.await_log("bucket_sealed")
        assert daemon.get("/-/healthy")[0] == 200
        assert daemon.get("/-/ready")[0] == 200
        assert daemon.get("/nowhere")[0] == 404
        status, metrics = daemon.get("/metrics")
        assert status == 200
        assert "records_rejected_total" in metrics
        assert f'partition="{site.topics["decisions"]}/0"' in metrics
        until(lambda: daemon.status()["events"] == 800, what="all events in the status")
        before = daemon.status()
        assert before["connected"]
        assert before["deployments"]["shop"]["keys"][0]["policy"] == "v1"

        site.write(deployment="min_samples = 1\nno_such_key = 1")
        daemon.signal(signal.SIGHUP)
        refused = daemon.await_log("config_refused")
        assert "no_such_key" in refused["reason"]
        assert daemon.status()["config"] == before["config"]

        site.write("max_poll_records = 7")
        daemon.signal(signal.SIGHUP)
        until(lambda: len(daemon.logged("config_refused")) == 2, what="a refused change of the source")
        assert "takes a restart" in daemon.logged("config_refused")[1]["reason"]

        site.write(deployment="[deployments.shop.rules.reward]\nsigma = 3.0")
        daemon.signal(signal.SIGHUP)
        taken = daemon.await_log("config_reloaded")
        assert taken["hash"] != before["config"]
        until(lambda: daemon.status()["config"] == taken["hash"], 5, "the new config in the status")
        produce(producer, site.topics, events(World(10, seed=2, start_ms=START_MS + 10_000)))
        until(lambda: daemon.status()["events"] == 1600, what="events after the reload")
        code, took_s = daemon.stop()
        assert code == 0
        assert took_s < 10


def test_forbidden_action_reaches_the_webhook_at_once(
    make_site: MakeSite, producer: KafkaProducer, receiver: HttpReceiver
) -> None:
    """A bound that a busy machine keeps; `python -m tests.bench.violation_latency` measures the promise of 250 ms."""
    took_ms = measure(5, make_site(), producer, receiver)
    print(took_ms)
    assert sorted(took_ms)[len(took_ms) // 2] < 2_000
    assert json.loads(receiver.requests[0].body)["data"]["rule"] == "constraint"


def _stands(bootstrap: str, group: str, topic: str, offset: int) -> bool:
    return committed(bootstrap, group, topic) == offset
