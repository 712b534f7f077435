"""The daemon at a broker that is missing, refuses it, or wants a password: plain words, a retry, and it goes on."""

import time
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from tests.integration.conftest import MakeSite
from tests.integration.running import Process, Site, until
from tests.integration.traffic import World, events, produce
from tests.kafka_broker import KafkaBroker, free_ports

pytestmark = pytest.mark.kafka

SCRAM = """
bootstrap_servers = ["{server}"]
security_protocol = "SASL_PLAINTEXT"
sasl_mechanism = "SCRAM-SHA-256"
sasl_username = "{user}"
sasl_password_file = "{file}"
"""


def test_wrong_password_is_said_in_plain_words_and_retried_until_it_is_right(
    make_site: MakeSite, kafka_broker: KafkaBroker, kafka_scram: dict[str, Any]
) -> None:
    site = make_site()
    password = site.folder / "password"
    password.write_text("not-the-password")
    site.write(SCRAM.format(server=kafka_broker.scram_bootstrap, user=kafka_broker.username, file=password))
    _own_topics(kafka_broker, site)
    with Process(site) as daemon:
        said = daemon.await_log("source_unreachable")
        assert "did not let us in" in said["reason"]
        assert said["servers"] == [kafka_broker.scram_bootstrap]
        assert daemon.get("/-/healthy")[0] == 200
        assert daemon.get("/-/ready")[0] == 503
        password.write_text(kafka_broker.password)
        made = events(World(10))
        producer = KafkaProducer(**kafka_scram)
        produce(producer, site.topics, made)
        producer.close(timeout=5)
        until(lambda: daemon.status()["events"] == len(made), what="every event over SCRAM")
        assert daemon.get("/-/ready")[0] == 200
        assert daemon.stop()[0] == 0
        assert "Traceback" not in daemon.text()
        assert "not-the-password" not in daemon.text()
        assert kafka_broker.password not in daemon.text()


def test_missing_broker_is_said_in_plain_words_and_leaving_does_not_wait_for_it(make_site: MakeSite) -> None:
    site = make_site()
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    site.write(f'bootstrap_servers = ["{nobody}"]')
    with Process(site) as daemon:
        said = daemon.await_log("source_unreachable")
        assert "the connection was refused" in said["reason"]
        assert said["servers"] == [nobody]
        assert said["retry_s"] == 1.0
        code, took_s = daemon.stop()
        assert code == 0
        assert took_s < 10
        assert "Traceback" not in daemon.text()


def test_broker_that_goes_away_and_comes_back_costs_nothing(
    make_site: MakeSite, kafka_broker: KafkaBroker
) -> None:
    site = make_site()
    site.write(f'bootstrap_servers = ["{kafka_broker.bootstrap}"]')
    _own_topics(kafka_broker, site)
    made = events(World(20))
    with Process(site) as daemon:
        _produce(kafka_broker, site, made[:800])
        until(lambda: daemon.status()["events"] == 800, what="the first half")
        kafka_broker.kill()
        time.sleep(1.0)
        assert daemon.get("/-/healthy")[0] == 200
        kafka_broker.start()
        _produce(kafka_broker, site, made[800:])
        until(lambda: daemon.status()["events"] == len(made), 60, "the second half")
        assert daemon.status()["rejected"] == {}
        assert daemon.stop()[0] == 0
        assert "Traceback" not in daemon.text()


def _produce(broker: KafkaBroker, site: Site, made: list[dict[str, Any]]) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    produce(producer, site.topics, made)
    producer.close(timeout=5)


def _own_topics(broker: KafkaBroker, site: Site) -> None:
    """The site's topics on the owned broker too, where another one is named for the rest."""
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    missing = set(site.topics.values()) - set(admin.list_topics())
    if missing:
        admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1) for name in missing])
    admin.close()
