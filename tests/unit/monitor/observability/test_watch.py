"""What the outside is told: metrics, status, health; counted from a real pipeline on a checkpoint of its own."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alerts.desk_terms import Command
from alerts.outbox import Delivered, OutboxEntry
from alerts.senders.log import LogSender
from monitor.assembly import build_core, build_pipeline, vocabulary_for
from monitor.batch import Kind, Rejected
from monitor.clocks import Clocks
from monitor.config import Config
from monitor.config_file import parse_config
from monitor.control.inbox import Asked, Suspected
from monitor.daemon import SAVE_SHARE, Daemon
from monitor.decoding.reasons import Reason
from monitor.idleness import Idleness
from monitor.observability.telemetry import Telemetry
from monitor.observability.watch import INSPECT_MS, STALLED_MS, UNSAVED_MS, Watch
from monitor.persistence.checkpoint import Checkpoint
from monitor.source import Records


@dataclass
class HandClock:
    ms: float = 1_000_000.0
    boot: str = ""

    def now_ms(self) -> int:
        return int(self.ms)

    def elapsed_ms(self) -> float:
        return self.ms


@dataclass
class Journal:
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __getattr__(self, level: str) -> Any:
        return lambda event, **said: self.lines.append((event, said))


@dataclass
class ListSource:
    polls: list[Records]
    left: int = 0

    def poll(self, timeout_ms: int) -> Sequence[Records]:
        return [self.polls.pop(0)] if self.polls else []

    def partitions(self) -> Sequence[str]:
        return ["rl.decisions/0"]

    def rest(self) -> None:
        return

    def caught_up(self, partition: str) -> bool:
        return False

    def lag(self) -> dict[str, int]:
        return {"rl.decisions/0": self.left}

    def commit(self, positions: Mapping[str, int]) -> None:
        return

    def close(self) -> None:
        return


class NoLetters:
    lost = 3

    def put(self, rejected: Sequence[Rejected]) -> None:
        return

    def close(self) -> None:
        return


CONFIG = parse_config(
    {
        "deployments": {
            "home": {
                "bucket": "10s",
                "window": "1m",
                "fallback_policy": "rules",
                "action_envelope": {"actions": [0, 1]},
            }
        }
    }
)


def decisions(first: int, count: int, **changed: Any) -> Records:
    rows = [
        json.dumps(
            {"decision_id": f"d{i}", "policy": "v1", "ts": 1_000_000 + 1_000 * i, "action": 1} | changed
        )
        for i in range(first, first + count)
    ]
    return Records(
        "rl.decisions/0",
        Kind.DECISION,
        range(first, first + count),
        [row.encode() for row in rows],
        first + count,
    )


def daemon(
    folder: Path, watch: Watch, clock: HandClock, source: ListSource, config: Config = CONFIG
) -> Daemon:
    vocabulary = vocabulary_for(config, {})
    return Daemon(
        pipeline=build_pipeline(config, build_core(config, {}, vocabulary), vocabulary),
        source=source,
        checkpoint=Checkpoint(folder),
        dead_letters=NoLetters(),
        clock=Clocks(clock),
        observer=watch,
        routes=[LogSender("log", Journal())],
        wake=lambda: None,
        idleness=Idleness(10_000, 10_000),
        save_every_ms=1_000,
    )


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"policywatch_{name}", labels)


def watched(tmp_path: Path, *polls: Records, left: int = 0) -> tuple[Telemetry, Watch, Journal, HandClock]:
    """A daemon that has taken these polls, and what was seen of it."""
    telemetry, clock, journal = Telemetry(), HandClock(), Journal()
    watch = Watch(telemetry, journal, clock, "aa")
    running = daemon(tmp_path, watch, clock, ListSource(list(polls), left))
    for _ in range(len(polls) + 1):
        clock.ms += INSPECT_MS
        running.step()
        watch.inspect(running)
    running.checkpoint.close()
    return telemetry, watch, journal, clock


def test_the_inventory_of_a_running_daemon_is_exported(tmp_path: Path) -> None:
    telemetry, _, _, _ = watched(tmp_path, decisions(0, 25), left=40)
    assert value(telemetry, "partition_lag_records", partition="rl.decisions/0") == 40
    assert value(telemetry, "decisions_pending", deployment="home") == 10  # of the sealed ticks
    assert value(telemetry, "newest_event_seconds") == 1_024
    assert value(telemetry, "watermark_lag_seconds") == 10
    assert value(telemetry, "buckets_sealed_total", deployment="home") == 1
    assert value(telemetry, "dead_letters_dropped_total") == 3
    assert value(telemetry, "last_checkpoint_saved_seconds") == 1_005


def test_the_status_keeps_the_lag_of_a_partition_while_it_is_read(tmp_path: Path) -> None:
    telemetry, clock = Telemetry(), HandClock()
    watch = Watch(telemetry, Journal(), clock, "aa")
    running = daemon(tmp_path, watch, clock, ListSource([decisions(0, 1), decisions(1, 1)], left=9))
    running.step()
    watch.inspect(running)
    running.step()
    assert watch.status()["partitions"] == {"rl.decisions/0": {"position": 2, "idle": False, "lag": 9}}
    running.checkpoint.close()


def test_a_forbidden_action_that_was_approved_is_counted_and_one_that_was_not_fires(tmp_path: Path) -> None:
    approved = decisions(0, 2, action=7, approved_by="ann")
    telemetry, watch, journal, _ = watched(tmp_path, approved, decisions(2, 1, action=7))
    assert value(telemetry, "actions_approved_total") == 2
    key = {"deployment": "home", "policy": "v1", "stage": "full", "rule": "constraint"}
    assert value(telemetry, "alerts_firing", **key) == 1
    assert (
        value(telemetry, "delivery_ended_total", receiver="log", ending="delivered") is None
    )  # nobody delivers here
    assert watch.status()["held"]["alerts_firing"] == [key]
    assert [event for event, _ in journal.lines].count("alert_fired") == 1


def test_names_that_do_not_fit_their_table_are_counted(tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(20)]  # 15 stages are kept
    polls = [decisions(i, 1, stage=name) for i, name in enumerate(names)]
    telemetry, _, _, _ = watched(tmp_path, *polls)
    assert value(telemetry, "labels_dropped_total", table="stages") == 20 + 4 - 15


def test_rejected_records_are_counted_in_the_status_and_logged_once_per_reason(tmp_path: Path) -> None:
    bad = Records("rl.decisions/0", Kind.DECISION, range(3), [b"{", b"{", None], 3)
    telemetry, watch, journal, _ = watched(tmp_path, bad)
    assert value(telemetry, "records_rejected_total", reason="bad_json") == 2
    assert watch.status()["rejected"] == {"bad_json": 2, "tombstone": 1}
    assert [said["reason"] for event, said in journal.lines if event == "record_rejected"] == [
        "bad_json",
        "tombstone",
    ]


def test_a_sealed_bucket_is_one_log_line_and_stands_in_the_status(tmp_path: Path) -> None:
    _, watch, journal, _ = watched(tmp_path, decisions(0, 25))
    lines = [said for event, said in journal.lines if event == "bucket_sealed"]
    assert [line["decisions"] for line in lines] == [10]
    status = watch.status()
    assert status["deployments"]["home"]["sealed_until"] == lines[0]["end"] == "1970-01-01T00:16:50.000Z"
    json.dumps(status, allow_nan=False)


def test_the_daemon_is_counted_every_five_seconds_and_not_every_turn(tmp_path: Path) -> None:
    telemetry, clock, journal = Telemetry(), HandClock(), Journal()
    watch = Watch(telemetry, journal, clock, "aa")
    source = ListSource([decisions(0, 1)], left=7)
    running = daemon(tmp_path, watch, clock, source)
    watch.inspect(running)
    source.left = 8
    clock.ms += INSPECT_MS - 1
    watch.inspect(running)
    assert value(telemetry, "partition_lag_records", partition="rl.decisions/0") == 7
    clock.ms += 1
    watch.inspect(running)
    assert value(telemetry, "partition_lag_records", partition="rl.decisions/0") == 8
    running.checkpoint.close()


def test_healthy_while_the_loop_turns_and_ready_while_the_source_answers() -> None:
    clock = HandClock()
    watch = Watch(Telemetry(), Journal(), clock, "aa")
    assert (watch.healthy()[0], watch.ready()[0]) == (True, False)
    watch.connected(True)
    assert watch.ready()[0]
    clock.ms += STALLED_MS
    assert (watch.healthy()[0], watch.ready()[0]) == (False, False)
    watch.looped()
    assert (watch.healthy()[0], watch.ready()[0]) == (True, True)


def test_a_state_that_is_saved_rarely_because_it_is_large_is_progress(tmp_path: Path) -> None:
    """Ten million pending decisions take seconds to write, so two minutes pass between two saves."""
    clock = HandClock()
    watch = Watch(Telemetry(), Journal(), clock, "aa")
    running = daemon(tmp_path, watch, clock, ListSource([]))
    running.save_took_ms = 3_000.0
    watch.connected(True)
    watch.inspect(running)
    watch.fed("rl.decisions/0", 1, 1)
    clock.ms += SAVE_SHARE * 3_000
    watch.looped()
    assert watch.alive() == (True, "")
    clock.ms += UNSAVED_MS + 1
    watch.looped()
    assert watch.alive() == (False, "nothing could be saved")
    running.checkpoint.close()


def test_an_acknowledgement_is_shown_until_its_alert_ends(tmp_path: Path) -> None:
    clock, source = HandClock(), ListSource([decisions(0, 2, action=7)])
    watch = Watch(Telemetry(), Journal(), clock, "aa")
    running = daemon(tmp_path, watch, clock, source)
    running.step()
    (fired,) = watch.status()["signals"]
    running.inbox.put(Asked(Command("ack", "ann", "on it", fired["id"])))
    running.step()
    assert [one["by"] for one in watch.status()["desk"]["acknowledged"]] == ["ann"]
    source.polls += [decisions(20 * i, 20) for i in range(1, 20)]
    for _ in range(20):
        clock.ms += 20_000
        running.step()
    ended = [s for s in watch.status()["signals"] if (s["rule"], s["state"]) == ("constraint", "resolved")]
    assert len(ended) == 1
    assert watch.status()["desk"]["acknowledged"] == []
    running.checkpoint.close()


def test_a_refused_reload_is_noted_until_another_is_taken() -> None:
    telemetry = Telemetry()
    watch = Watch(telemetry, Journal(), HandClock(), "aa")
    watch.reload_refused("source.kind: 'x' is not one of kafka, files")
    assert "source.kind" in watch.status()["notes"]["config"]
    assert value(telemetry, "config_reload_ok") == 0
    watch.reloaded("0.1.0", "bb")
    assert (watch.status()["config"], watch.status()["notes"]) == ("bb", {})
    assert value(telemetry, "config_reload_ok") == 1


def test_every_receiver_has_its_counters_before_anything_goes_wrong() -> None:
    telemetry = Telemetry()
    watch = Watch(telemetry, Journal(), HandClock(), "aa")
    watch.watched({"webhook-1": 90_000})
    assert value(telemetry, "delivery_oldest_age_seconds", receiver="webhook-1") == 90
    assert value(telemetry, "safety_signals_overdue_total", receiver="webhook-1") == 0
    watch.safety_overdue(entry(), 61_000)
    watch.attempted(entry(), Delivered(), 12)
    watch.faulted("webhook-1", OSError("disk full"))
    assert value(telemetry, "safety_signals_overdue_total", receiver="webhook-1") == 1
    assert value(telemetry, "delivery_attempts_total", receiver="webhook-1", outcome="delivered") == 1
    assert value(telemetry, "delivery_faults_total", receiver="webhook-1") == 1


def test_rejections_of_the_join_carry_a_reason_of_the_closed_set() -> None:
    telemetry = Telemetry()
    watch = Watch(telemetry, Journal(), HandClock(), "aa")
    watch.rejected([Rejected(Reason.UNKNOWN_DECISION, "rl.rewards/0", 4, "", b"")])
    assert value(telemetry, "records_rejected_total", reason="unknown_decision") == 1


def test_a_delivery_that_meets_rot_is_told_to_the_loop_and_one_that_has_to_wait_is_not() -> None:
    watch = Watch(Telemetry(), Journal(), HandClock(), "hash")
    watch.faulted("serving", sqlite3.OperationalError("database is locked"))
    watch.faulted("serving", OSError("no route"))
    assert watch.inbox.empty() == []
    watch.faulted("serving", sqlite3.DatabaseError("database disk image is malformed"))
    assert [type(news) for news in watch.inbox.empty()] == [Suspected]


def entry() -> OutboxEntry:
    return OutboxEntry(1, "sig_1", "webhook-1", "home", "k", b"", 0, 0, None, safety=True, created_ms=0)
