"""What other threads tell the main loop: commands of people, news of delivery. Bounded; the rest is refused."""

import queue
import threading
from dataclasses import dataclass, field

from alerts.desk_terms import Command, Reply

MOST = 256


@dataclass(frozen=True, slots=True)
class Overdue:
    """A safety signal of an alert has not arrived yet."""

    signal_id: str
    receiver: str
    age_ms: int
    alert_key: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A safety signal's entry left the outbox, or a page's expired."""

    signal_id: str
    receiver: str
    ending: str
    safety: bool = True


@dataclass(frozen=True, slots=True)
class Suspected:
    """Who delivers has met something in the state file that cannot be read."""

    why: str


@dataclass(slots=True)
class Asked:
    """A command, and where its answer goes."""

    command: Command
    answered: threading.Event = field(default_factory=threading.Event)
    reply: Reply | None = None

    def answer(self, reply: Reply) -> None:
        """Wake who waits."""
        self.reply = reply
        self.answered.set()


News = Overdue | Finished | Suspected | Asked


class Inbox:
    """Put from any thread, emptied by the main loop in every turn."""

    def __init__(self, most: int = MOST) -> None:
        self._queue: queue.Queue[News] = queue.Queue(most)
        self.lost = 0

    def put(self, news: News) -> bool:
        """False, and counted, where there is no room."""
        try:
            self._queue.put_nowait(news)
        except queue.Full:
            self.lost += 1
            return False
        return True

    def ask(self, command: Command, within_s: float) -> Reply:
        """Hand a command over and wait until its effect is saved."""
        asked = Asked(command)
        if not self.put(asked):
            return Reply(503, "too many commands are waiting")
        if not asked.answered.wait(within_s):
            return Reply(504, "the main loop has not answered; look whether it happened before asking again")
        return asked.reply or Reply(500, "no answer")

    def empty(self) -> list[News]:
        """Everything that has come."""
        found = []
        while True:
            try:
                found.append(self._queue.get_nowait())
            except queue.Empty:
                return found
