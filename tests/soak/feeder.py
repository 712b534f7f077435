"""Traffic for a soak, from a process of its own: decisions now, their rewards later, a new policy name now and then.

`python -m tests.soak.feeder SERVERS DECISIONS REWARDS RATE` sends until it is told to stop, and says each second how
many records it has sent. Payloads are filled into bytes made before, so that a thousand a second cost next to nothing.
"""

import random
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from kafka import KafkaProducer

from tests.integration.traffic import DEPLOYMENT

TURN_S = 0.1
MADE = 4_096  # payloads made before, used in turn
LONGEST_DELAY_MS = 40_000  # two thirds of the horizon: none is late
POLICY_MS = 150_000  # as long as one policy serves
BAD_EVERY_MS, BAD_FOR_MS = 420_000, 25_000  # its reward falls now and then, so that signals fire and resolve


@dataclass
class Traffic:
    """records: (is a decision, key, payload) due at a time. due: rewards to come, (ms, id, reward)."""

    rng: random.Random
    per_s: int
    run: str
    begun_ms: int
    made: list[bytes] = field(init=False)
    rewards: list[bytes] = field(init=False)
    due: list[deque[tuple[bytes, bytes]]] = field(init=False)
    decided: int = 0
    turn: int = 0

    def __post_init__(self) -> None:
        self.made = [self._decision() for _ in range(MADE)]
        self.rewards = [b'"reward":%.4f}' % self.rng.gauss(1.0, 0.5) for _ in range(MADE)]
        self.due = [deque() for _ in range(LONGEST_DELAY_MS // round(TURN_S * 1000) + 1)]

    def records(self, now_ms: int) -> Iterator[tuple[bool, bytes, bytes]]:
        """One turn: half of the rate are new decisions, the other half the rewards whose time has come."""
        for decision_id, payload in self._rewarded(now_ms):
            yield False, decision_id, payload
        policy = b"v%d" % ((now_ms - self.begun_ms) // POLICY_MS)
        bad = (now_ms - self.begun_ms) % BAD_EVERY_MS > BAD_EVERY_MS - BAD_FOR_MS
        until = round((self.turn + 1) * TURN_S * self.per_s / 2)
        for number in range(self.decided, until):
            decision_id = b"%s-%d" % (self.run.encode(), number)
            yield True, decision_id, self._filled(decision_id, policy, now_ms, number)
            delay = 1 + min(int(self.rng.expovariate(1 / 60)), len(self.due) - 2)
            fallen = b'"reward":-1.5}' if bad else self.rewards[number % MADE]
            self.due[(self.turn + delay) % len(self.due)].append((decision_id, fallen))
        self.decided, self.turn = until, self.turn + 1

    def _filled(self, decision_id: bytes, policy: bytes, now_ms: int, number: int) -> bytes:
        head = b'{"decision_id":"%s","policy":"%s","ts":%d,' % (decision_id, policy, now_ms)
        return head + self.made[number % MADE]

    def _rewarded(self, now_ms: int) -> Iterator[tuple[bytes, bytes]]:
        slot = self.due[self.turn % len(self.due)]
        while slot:
            decision_id, rest = slot.popleft()
            yield decision_id, b'{"decision_id":"%s","ts":%d,' % (decision_id, now_ms) + rest

    def _decision(self) -> bytes:
        state = ",".join(f"{self.rng.gauss(0.0, 1.0):.4f}" for _ in range(3))
        action = self.rng.randrange(4)
        rest = f'"deployment":"{DEPLOYMENT}","state":[{state}],"action":{action},"propensity":0.25}}'
        return rest.encode()


def main() -> None:
    """Until the pipe to whoever started this is closed."""
    servers, decisions, rewards, rate = sys.argv[1:]
    producer = KafkaProducer(bootstrap_servers=servers, linger_ms=20)
    begun_ms = time.time_ns() // 1_000_000
    traffic = Traffic(random.Random(1), int(rate), f"s{begun_ms:x}", begun_ms)
    begun, sent = time.monotonic(), 0
    while True:
        for is_decision, key, payload in traffic.records(time.time_ns() // 1_000_000):
            producer.send(decisions if is_decision else rewards, payload, key=key, partition=0)
            sent += 1
        if traffic.turn % 10 == 0:
            print(sent, flush=True)
        time.sleep(max(0.0, begun + traffic.turn * TURN_S - time.monotonic()))


if __name__ == "__main__":
    main()
