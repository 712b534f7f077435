"""Only the traffic: the demo's world on the topics of a real broker, for a daemon that somebody else runs."""

import time

from monitor.config import SourceConfig
from monitor.demo.children import Line, start_serving
from monitor.demo.conductor import ACCEPTED_S, DemoFailed, partitions_of
from monitor.demo.site import Site
from monitor.demo.topics import create_topics
from monitor.demo.traffic import log_of, make_traffic, write_log
from monitor.exit_codes import FINE

TURN_EVERY_S = 120.0  # the tastes turn round and back


def produce_only(site: Site, kafka: str, seed: int, seconds: float | None) -> int:
    """Until stopped, or for so many seconds. The accepted log for a baseline is written first."""
    topics = dict(SourceConfig().topics) | {"signals": "rl.signals", "dead_letters": "rl.dead-letters"}
    create_topics(kafka, partitions_of(topics))
    start_ms = time.time_ns() // 1_000_000 - (ACCEPTED_S + 60) * 1000
    count = write_log(site.accepted, log_of(make_traffic(seed, "accepted", "accepted"), start_ms, ACCEPTED_S))
    print(f"{site.accepted}: {count:,} events, for `policywatch baseline build`", flush=True)
    began = turned = time.monotonic()
    with start_serving(site, kafka, topics, seed, "", _say, obeys=False) as serving:
        serving.tell("go")
        print(
            f"producing to {', '.join(topics[kind] for kind in ('decisions', 'rewards'))} on {kafka}",
            flush=True,
        )
        while seconds is None or time.monotonic() - began < seconds:
            time.sleep(0.2)
            if serving.exit_code is not None:
                raise DemoFailed(f"the serving layer left with {serving.exit_code}; see {serving.log}")
            if time.monotonic() - turned >= TURN_EVERY_S:
                turned = time.monotonic()
                serving.tell("change")
    return FINE


def _say(line: Line) -> None:
    match line.get("event"):
        case "changed":
            print("the readers' tastes have turned round", flush=True)
        case "changed_back":
            print("the readers' tastes are what they were", flush=True)
