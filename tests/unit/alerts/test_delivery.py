"""The threads that drain the outbox, and their single steps on a clock of the test's own."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from alerts.delivery import IDLE_MS, Delivery, ReceiverLoop, Watch
from alerts.outbox import Delivered, Disabled, Ending, OutboxEntry, Outcome, Retry
from alerts.outbox_store import SqliteOutbox
from alerts.outbox_table import create_tables, enqueue
from alerts.senders.alertmanager import AlertmanagerSender
from alerts.senders.webhook import WebhookSender
from alerts.signal import Signal
from tests.contracts.http_receiver import Reply, http_receiver
from tests.contracts.senders_suite import SECRET
from tests.unit.alerts.build import NOW_MS, signal


class Clock:
    """Any time the test wants. set_ms: how far the wall's is set."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.at_ms, self.set_ms = now_ms, 0

    def now_ms(self) -> int:
        return self.at_ms + self.set_ms

    def steady_ms(self) -> int:
        return self.at_ms


class WallClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    steady_ms = now_ms


class Receiver:
    """Answers as told, the last answer for ever; keeps what it got and when."""

    def __init__(self, name: str, *answers: Outcome | Exception, takes_s: float = 0.0) -> None:
        self.name = name
        self.answers = list(answers) or [Delivered()]
        self.takes_s = takes_s
        self.got: list[tuple[str, float]] = []
        self.released = threading.Event()

    def accepts(self, signal: Signal) -> bool:
        return True

    def send(self, entry: OutboxEntry, now_s: float) -> Outcome:
        self.got.append((entry.signal_id, now_s))
        self.released.wait(self.takes_s)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def ids(self) -> list[str]:
        return [signal_id for signal_id, _ in self.got]


class Observed:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.endings: list[tuple[str, Ending]] = []
        self.ages: dict[str, int] = {}
        self.overdue: list[str] = []
        self.faults: list[str] = []

    def attempted(self, entry: OutboxEntry, outcome: Outcome, took_ms: int) -> None:
        self.outcomes.append(outcome)

    def ended(self, entry: OutboxEntry, ending: Ending) -> None:
        self.endings.append((entry.receiver, ending))

    def watched(self, oldest_age_ms: Mapping[str, int]) -> None:
        self.ages = dict(oldest_age_ms)

    def safety_overdue(self, entry: OutboxEntry, age_ms: int) -> None:
        self.overdue.append(entry.receiver)

    def faulted(self, receiver: str, error: Exception) -> None:
        self.faults.append(type(error).__name__)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def writer(path: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    create_tables(conn)
    return conn


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def observed() -> Observed:
    return Observed()


def run(loop: ReceiverLoop, clock: Clock, for_ms: int) -> None:
    """Let a loop run on the test's clock, sleeping as long as it says."""
    until_ms = clock.at_ms + for_ms
    while clock.at_ms <= until_ms:
        clock.at_ms += loop.step()


def test_safety_signal_is_tried_on_its_schedule_until_it_is_delivered(
    writer: sqlite3.Connection, path: Path, clock: Clock, observed: Observed
) -> None:
    receiver = Receiver("serving", *[Retry(None, "down")] * 6, Delivered())
    enqueue(writer, [signal()], [receiver], NOW_MS)
    run(ReceiverLoop(receiver, SqliteOutbox.open(path), clock, observed), clock, 120_000)
    ages_s = [at_s - NOW_MS / 1000 for _, at_s in receiver.got]
    assert ages_s == pytest.approx([0, 1, 2, 5, 10, 30, 60], rel=0.1)
    assert set(receiver.ids) == {signal().id}
    assert observed.endings == [("serving", "delivered")]


def test_receiver_down_for_ten_minutes_gets_everything_in_order(
    writer: sqlite3.Connection, path: Path, clock: Clock, observed: Observed
) -> None:
    signals = [signal(id=f"sig {i}", generation=i, rule=f"rule {i}", expires_at_ms=None) for i in range(5)]
    receiver = Receiver("serving", *[Retry(None, "down")] * 16, Delivered())
    enqueue(writer, signals, [receiver], NOW_MS)
    run(ReceiverLoop(receiver, SqliteOutbox.open(path), clock, observed), clock, 900_000)
    assert receiver.got[15][1] - NOW_MS / 1000 > 500
    assert receiver.ids[16:] == [each.id for each in signals]


def test_signal_that_expires_while_the_receiver_is_down_is_not_sent_late(
    writer: sqlite3.Connection, path: Path, clock: Clock, observed: Observed
) -> None:
    receiver = Receiver("serving", *[Retry(None, "down")] * 8, Delivered())
    enqueue(writer, [signal(expires_at_ms=NOW_MS + 90_000)], [receiver], NOW_MS)
    run(ReceiverLoop(receiver, SqliteOutbox.open(path), clock, observed), clock, 600_000)
    assert len(receiver.got) == 7
    assert observed.endings == [("serving", "expired")]


def test_sender_that_raises_is_a_failed_attempt(
    writer: sqlite3.Connection, path: Path, clock: Clock, observed: Observed
) -> None:
    receiver = Receiver("serving", ValueError("bug"), Delivered())
    enqueue(writer, [signal()], [receiver], NOW_MS)
    run(ReceiverLoop(receiver, SqliteOutbox.open(path), clock, observed), clock, 5_000)
    assert observed.faults == ["ValueError"]
    assert observed.endings == [("serving", "delivered")]


def test_disabled_receiver_is_left_alone(
    writer: sqlite3.Connection, path: Path, clock: Clock, observed: Observed
) -> None:
    receiver = Receiver("serving", Disabled("HTTP 410"))
    enqueue(writer, [signal()], [receiver], NOW_MS)
    run(ReceiverLoop(receiver, SqliteOutbox.open(path), clock, observed), clock, 600_000)
    assert len(receiver.got) == 1


@pytest.mark.parametrize("set_ms", [-3_600_000, 3_600_000, 86_400_000])
def test_wall_clock_that_is_set_neither_delays_nor_ends_what_waits(
    writer: sqlite3.Connection, path: Path, clock: Clock, observed: Observed, set_ms: int
) -> None:
    receiver = Receiver("serving", *[Retry(None, "down")] * 5, Delivered())
    enqueue(writer, [signal()], [receiver], NOW_MS)
    loop = ReceiverLoop(receiver, SqliteOutbox.open(path), clock, observed)
    loop.step()
    clock.set_ms = set_ms
    Watch(["serving"], SqliteOutbox.open(path), clock, observed).step()
    assert observed.overdue == []
    run(loop, clock, 40_000)
    assert observed.endings == [("serving", "delivered")]
    ages_s = [at_s - (NOW_MS + set_ms) / 1000 for _, at_s in receiver.got[1:]]
    assert ages_s == pytest.approx([1, 2, 5, 10, 30], rel=0.1)  # the receiver is told the wall's time


@pytest.mark.parametrize("set_ms", [0, -3_600_000])
def test_firing_alerts_are_refreshed_by_the_loop(
    writer: sqlite3.Connection, path: Path, clock: Clock, observed: Observed, set_ms: int
) -> None:
    with http_receiver() as http:
        alertmanager = AlertmanagerSender("am", http.url)
        enqueue(writer, [signal()], [alertmanager], NOW_MS)
        loop = ReceiverLoop(alertmanager, SqliteOutbox.open(path), clock, observed)
        run(loop, clock, 125_000)
        clock.set_ms = set_ms
        run(loop, clock, 60_000)
        assert len(http.requests) == 4 + (set_ms < 0)  # a clock that went back makes them due at once


def test_idle_loop_sleeps(writer: sqlite3.Connection, path: Path, clock: Clock, observed: Observed) -> None:
    assert ReceiverLoop(Receiver("r"), SqliteOutbox.open(path), clock, observed).step() == IDLE_MS


def test_overdue_safety_signal_is_reported_once_and_a_page_never(
    writer: sqlite3.Connection, path: Path, clock: Clock, observed: Observed
) -> None:
    routes = [Receiver("serving"), Receiver("pager")]
    enqueue(writer, [signal(id="page", kind="page")], routes, NOW_MS - 3_600_000)
    enqueue(writer, [signal()], routes[:1], NOW_MS)
    watch = Watch(["serving", "pager"], SqliteOutbox.open(path), clock, observed)
    for clock.at_ms in range(NOW_MS + 58_000, NOW_MS + 65_000, 1_000):
        watch.step()
        assert observed.overdue == (["serving"] if clock.at_ms >= NOW_MS + 60_000 else [])
    assert observed.ages == {"serving": 3_664_000, "pager": 3_664_000}


def until(true: Callable[[], bool], within_s: float = 3.0) -> bool:
    deadline = time.monotonic() + within_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.002)
    return true()


@pytest.fixture
def deliver(path: Path, observed: Observed) -> Iterator[Callable[..., Delivery]]:
    started: list[Delivery] = []

    def start(*receivers: Receiver | WebhookSender) -> Delivery:
        delivery = Delivery(receivers, lambda: SqliteOutbox.open(path), WallClock(), observed)
        delivery.start()
        started.append(delivery)
        return delivery

    yield start
    for delivery in started:
        delivery.stop()


def now_signal(**changes: object) -> Signal:
    return signal(**({"expires_at_ms": None} | changes))


def test_wake_makes_delivery_a_matter_of_milliseconds(
    writer: sqlite3.Connection, deliver: Callable[..., Delivery]
) -> None:
    """Without the wake-up an idle thread would look again after 5 s."""
    receiver = Receiver("serving")
    delivery = deliver(receiver)
    time.sleep(0.1)
    start = time.monotonic()
    enqueue(writer, [now_signal()], [receiver], WallClock().now_ms())
    delivery.wake()
    assert until(lambda: len(receiver.got) == 1)
    assert time.monotonic() - start < 0.5


def test_hanging_receiver_slows_no_other(
    writer: sqlite3.Connection, deliver: Callable[..., Delivery]
) -> None:
    hanging, healthy = Receiver("hanging", takes_s=30), Receiver("healthy")
    delivery = deliver(hanging, healthy)
    signals = [now_signal(id=f"sig {i}", rule=f"rule {i}") for i in range(20)]
    enqueue(writer, signals, [hanging, healthy], WallClock().now_ms())
    delivery.wake()
    assert until(lambda: len(healthy.got) == 20)
    assert len(hanging.got) == 1
    hanging.released.set()


def test_hanging_receiver_is_reported_overdue(
    writer: sqlite3.Connection, deliver: Callable[..., Delivery], observed: Observed
) -> None:
    hanging = Receiver("hanging", takes_s=30)
    enqueue(writer, [now_signal()], [hanging], WallClock().now_ms() - 61_000)
    deliver(hanging)
    assert until(lambda: observed.overdue == ["hanging"])
    hanging.released.set()


def test_stop_takes_less_than_two_seconds_even_in_a_hanging_attempt(
    writer: sqlite3.Connection, deliver: Callable[..., Delivery]
) -> None:
    hanging = Receiver("hanging", takes_s=30)
    delivery = deliver(hanging, Receiver("healthy"))
    enqueue(writer, [now_signal()], [hanging], WallClock().now_ms())
    delivery.wake()
    assert until(lambda: len(hanging.got) == 1)
    start = time.monotonic()
    assert delivery.stop() is False
    assert time.monotonic() - start < 2.0
    hanging.released.set()


def test_idle_threads_stop_at_once(deliver: Callable[..., Delivery]) -> None:
    delivery = deliver(Receiver("a"), Receiver("b"))
    start = time.monotonic()
    assert delivery.stop() is True
    assert time.monotonic() - start < 0.5


def test_what_was_not_delivered_is_delivered_by_the_next_process(
    writer: sqlite3.Connection, deliver: Callable[..., Delivery], path: Path
) -> None:
    down, up = Receiver("serving", Retry(None, "down")), Receiver("serving")
    enqueue(writer, [now_signal()], [down], WallClock().now_ms())
    first = deliver(down)
    assert until(lambda: len(down.got) == 1)
    first.stop()
    deliver(up)
    assert until(lambda: up.ids == [signal().id])


def test_broken_store_is_reported_and_outlived(
    writer: sqlite3.Connection, path: Path, observed: Observed
) -> None:
    receiver = Receiver("serving")
    opened: list[int] = []

    def open_store() -> SqliteOutbox:
        opened.append(1)
        if len(opened) <= 2:
            raise sqlite3.OperationalError("disk I/O error")
        return SqliteOutbox.open(path)

    enqueue(writer, [now_signal()], [receiver], WallClock().now_ms())
    delivery = Delivery([receiver], open_store, WallClock(), observed)
    delivery.start()
    assert until(lambda: len(receiver.got) == 1)
    assert observed.faults == ["OperationalError"] * 2
    delivery.stop()


def test_two_receivers_of_one_name_are_refused(path: Path, observed: Observed) -> None:
    with pytest.raises(ValueError, match="two receivers"):
        Delivery([Receiver("a"), Receiver("a")], lambda: SqliteOutbox.open(path), WallClock(), observed)


def test_signal_reaches_a_webhook_over_real_http_after_a_5xx(
    writer: sqlite3.Connection, deliver: Callable[..., Delivery], tmp_path: Path, observed: Observed
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    with http_receiver() as http:
        http.script = [Reply(503), Reply(200)]
        webhook = WebhookSender("serving", http.url, tmp_path / "secret")
        enqueue(writer, [now_signal()], [webhook], WallClock().now_ms())
        deliver(webhook)
        assert until(lambda: observed.endings == [("serving", "delivered")])
    ids = [request.headers["webhook-id"] for request in http.requests]
    assert ids == [signal().id] * 2
