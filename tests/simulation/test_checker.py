"""The checker is seen to fail: a daemon that breaks a promise on purpose is found out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as changed

from alerts import outbox_store
from alerts.outbox import Delivered, OutboxEntry
from alerts.outbox_store import SqliteOutbox
from alerts.signal import Signal, cloudevent, parse
from alerts.tray import Leaving
from detectors.arrays import Bool
from monitor.batch import DecisionBatch
from monitor.daemon import Daemon, Positions
from monitor.joining import Joining
from monitor.persistence.checkpoint import Checkpoint
from tests.simulation.broker import Consumer
from tests.simulation.checker import miscounted
from tests.simulation.faults import Fault
from tests.simulation.history import Run
from tests.simulation.logs import logs_of
from tests.simulation.receivers import example
from tests.simulation.seeds import Case, tried
from tests.simulation.world import PowerCut

KILLS = tuple(Fault("kill", 700.0 * n, 0.0, 5 + 9 * n) for n in range(1, 12))


def broken(case: Case, folder: Path) -> str:
    finding = tried(case, folder)
    return "\n".join(finding.faults) if finding else ""


def case(*faults: Fault) -> Case:
    return Case(1, "one", 0, faults)


@pytest.fixture(autouse=True)
def _undisturbed_is_undisturbed() -> None:
    """The reference run is played before anything is sabotaged."""
    from tests.simulation.seeds import undisturbed

    undisturbed("one", 0)


def test_promises_are_kept_where_nothing_is_sabotaged(tmp_path: Path) -> None:
    assert broken(case(*KILLS), tmp_path) == ""


def test_going_on_from_offsets_committed_before_the_state_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What many consumers do: the broker remembers the position, at once."""
    committed: dict[str, int] = {}
    read = Daemon._read

    def hasty(daemon: Daemon, timeout_ms: int) -> None:
        read(daemon, timeout_ms)
        committed.update(daemon.pipeline.positions)

    def assigned(self: Positions, partitions: Sequence[str]) -> Mapping[str, int]:
        return {name: committed.get(name, 0) for name in partitions}

    monkeypatch.setattr(Daemon, "_read", hasty)
    monkeypatch.setattr(Positions, "assigned", assigned)
    assert "decisions, " in broken(case(*KILLS), tmp_path)


def test_signals_queued_beside_the_transaction_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State first, signals in a transaction of their own: a death between the two loses them."""
    whole = Checkpoint.save
    lost: list[Signal] = []

    def torn(self: Checkpoint, parts: Any, leaving: Leaving, *rest: Any) -> Any:
        if not leaving.signals or lost:
            return whole(self, parts, leaving, *rest)
        whole(self, parts, leaving._replace(signals=()), *rest)
        lost.extend(leaving.signals)
        raise PowerCut

    monkeypatch.setattr(Checkpoint, "save", torn)
    assert "in one run only" in broken(case(), tmp_path)


def test_failure_taken_for_a_delivery_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle = outbox_store.SqliteOutbox.settle

    def hopeful(self: SqliteOutbox, entry: OutboxEntry, outcome: Any, now_ms: int) -> Any:
        return settle(self, entry, Delivered(), now_ms)

    monkeypatch.setattr(outbox_store.SqliteOutbox, "settle", hopeful)
    assert "never arrived" in broken(case(Fault("500", 0.0, 4_000.0, 1)), tmp_path)


def test_receiver_that_forgets_what_it_has_seen_acts_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why a signal has an id: the answer is lost after the receiver has acted."""
    monkeypatch.setattr(
        example().Receiver, "judge", lambda self, data, newest: "applied" if data["to_policy"] else "noted"
    )
    found = broken(case(Fault("dropped", 0.0, 20_000.0, 0)), tmp_path)
    assert "took effect" in found


def test_safety_signals_that_share_a_generation_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = SqliteOutbox._loaded

    def levelled(self: SqliteOutbox, entry: OutboxEntry) -> OutboxEntry:
        found = loaded(self, entry)
        return replace(found, payload=cloudevent(changed(parse(found.payload), generation=7)))

    monkeypatch.setattr(SqliteOutbox, "_loaded", levelled)
    assert "was refused: old" in broken(case(), tmp_path)


def test_other_words_under_the_same_id_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is lost, and the next try says something else."""
    loaded = SqliteOutbox._loaded

    def reworded(self: SqliteOutbox, entry: OutboxEntry) -> OutboxEntry:
        found = loaded(self, entry)
        signal = parse(found.payload)
        said = changed(
            signal, generation=signal.generation + entry.attempt, reason=signal.reason + "!" * entry.attempt
        )
        return replace(found, payload=cloudevent(said))

    monkeypatch.setattr(SqliteOutbox, "_loaded", reworded)
    assert "with other bytes" in broken(case(Fault("dropped", 0.0, 20_000.0, 0)), tmp_path)


def test_reading_a_record_twice_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the join drops the copy: it is set aside as a repeat that the log does not hold."""
    fetched = Consumer._fetched

    def again(self: Consumer, max_records: int) -> Any:
        found = fetched(self, max_records)
        for partition in found:
            self._positions[partition] -= 1
            monkeypatch.setattr(Consumer, "_fetched", fetched)
        return found

    monkeypatch.setattr(Consumer, "_fetched", again)
    assert "rejected in one run only" in broken(case(), tmp_path)


def test_a_daemon_that_counts_what_a_producer_sends_again_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All runs would agree, so the log itself is asked."""

    def all_fresh(self: Joining, decisions: DecisionBatch) -> Bool:
        seen = insert(self, decisions)
        self.fresh, self.fresh_segments = decisions, self.segments.of(decisions.segments, len(decisions))
        self.piles.decisions[-1] = decisions
        return np.zeros_like(seen)

    insert = Joining.insert
    monkeypatch.setattr(Joining, "insert", all_fresh)
    history = Run(tmp_path / "run", "one", 0, 0, ()).play()
    assert "counted more than once" in "\n".join(miscounted(history, logs_of("one", 0)))
