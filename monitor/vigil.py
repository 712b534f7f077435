"""What only a wall clock notices: no events, a lag that grows, a watermark that stands. Never part of a replay."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from alerts import wording
from alerts.holds import LAST_TICK, HoldOrder, hold_signal
from alerts.signal import Signal, State
from monitor.config import BlindConfig, Config

LOOK_MS = 1_000
SAMPLE_MS = 5_000
FIRST_TICK = 501  # behind the seals of the newest moment, before its violations: a hold overtakes no fallback
LEAST_LAG_S = 30.0  # a lag that is read away sooner is none


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What the loop saw since the last look. heard: deployments with decisions. events: usable ones of any kind.

    lag: records not yet read, None where the source cannot say. edge_ms: end of what is sealed, event time.
    """

    heard: frozenset[str]
    events: int
    watermark_ms: int | None
    lag: int | None
    edge_ms: int | None


@dataclass(frozen=True, slots=True)
class Sample:
    """The lag at one moment, and events read up to then."""

    at_ms: float
    lag: int
    events: int


@dataclass(slots=True)
class Vigil:
    """`look` in every turn of the loop, also when the broker cannot be used.

    alerts: (deployment, rule) -> wall time at which the hold began; the only part that a checkpoint holds. Times of the
    rest are elapsed ones, and begin anew with the process.
    """

    limits: Mapping[str, BlindConfig]
    dry_run: Mapping[str, bool]
    lateness_ms: int
    alerts: dict[tuple[str, str], int] = field(default_factory=dict)
    heard_ms: dict[str, float] = field(default_factory=dict)
    began_ms: float = -1.0
    looked_ms: float = float("-inf")
    watermark_ms: int | None = None
    moved_ms: float = 0.0
    fed_since_move: int = 0
    events: int = 0
    lags: deque[Sample] = field(default_factory=deque)
    told: int = 0

    def look(self, elapsed_ms: float, now_ms: int, seen: Glimpse) -> list[Signal]:
        """The holds that begin or end now."""
        if self.began_ms < 0:
            self.began_ms = self.moved_ms = elapsed_ms
        self.heard_ms |= dict.fromkeys(seen.heard, elapsed_ms)
        self.events += seen.events
        self._follow_watermark(elapsed_ms, seen)
        if elapsed_ms - self.looked_ms < LOOK_MS:
            return []
        self.looked_ms = elapsed_ms
        self._sample(elapsed_ms, seen.lag)
        for gone in [name for name in self.alerts if name[0] not in self.limits]:
            del self.alerts[gone]
        return [
            self._change(deployment, rule, reason, now_ms, seen.edge_ms)
            for deployment in self.limits
            for rule, reason in self._judged(deployment, elapsed_ms)
            if reason is not None and bool(reason) != ((deployment, rule) in self.alerts)
        ]

    def configure(self, config: Config) -> None:
        """The limits of a config; what is open stays open."""
        self.limits = {name: deployment.blind for name, deployment in config.deployments.items()}
        self.dry_run = {name: deployment.dry_run for name, deployment in config.deployments.items()}
        self.lateness_ms = config.source.lateness_ms

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"alerts": [[*name, opened] for name, opened in sorted(self.alerts.items())]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from it."""
        self.alerts = {(deployment, rule): opened for deployment, rule, opened in state.get("alerts", ())}

    def _follow_watermark(self, elapsed_ms: float, seen: Glimpse) -> None:
        self.fed_since_move += seen.events
        if seen.watermark_ms != self.watermark_ms:
            self.watermark_ms, self.moved_ms, self.fed_since_move = seen.watermark_ms, elapsed_ms, 0

    def _sample(self, elapsed_ms: float, lag: int | None) -> None:
        if lag is None or (self.lags and elapsed_ms - self.lags[-1].at_ms < SAMPLE_MS):
            return
        self.lags.append(Sample(elapsed_ms, lag, self.events))
        keep_ms = max((blind.lag_ms for blind in self.limits.values()), default=0)
        while len(self.lags) > 2 and elapsed_ms - self.lags[1].at_ms >= keep_ms:
            self.lags.popleft()

    def due(self, elapsed_ms: float) -> bool:
        """Whether the next look judges."""
        return elapsed_ms - self.looked_ms >= LOOK_MS

    def _judged(self, deployment: str, elapsed_ms: float) -> Iterator[tuple[str, str | None]]:
        """Each rule with the reason why it holds, empty where it does not, None where that is not known yet."""
        limits = self.limits[deployment]
        silent_ms = elapsed_ms - self.heard_ms.get(deployment, self.began_ms)
        reason = f"{deployment}: no decision has come for {_span(silent_ms)}; nothing is judged: the rollout is held."
        heard = deployment in self.heard_ms
        yield "blind.no_events", _said(limits.no_events_ms, silent_ms, reason, known=heard)
        stood_ms = elapsed_ms - self.moved_ms if self.fed_since_move else 0.0
        reason = (
            f"{deployment}: {self.fed_since_move} events came in {_span(stood_ms)} and event time has not moved; no "
            "bucket is sealed and no rule runs but the one for forbidden actions, so the rollout is held."
        )
        yield (
            "blind.watermark",
            _said(limits.watermark_ms, stood_ms, reason, known=self.moved_ms > self.began_ms),
        )
        yield "blind.lag", self._lagging(deployment, limits.lag_ms, elapsed_ms)

    def _lagging(self, deployment: str, limit_ms: int, elapsed_ms: float) -> str | None:
        """Whether reading has fallen back all through the time, to more than half a minute's worth of reading."""
        within = [s for s in self.lags if elapsed_ms - s.at_ms <= limit_ms + SAMPLE_MS]
        if not limit_ms:
            return ""
        if len(within) < 3 or within[-1].at_ms - within[0].at_ms < limit_ms - SAMPLE_MS:
            return None
        first, last, half = within[0], within[-1], len(within) // 2
        rate = (last.events - first.events) * 1000 / (last.at_ms - first.at_ms)
        behind_s = last.lag / rate if rate > 0 else float("inf")
        grown = max(s.lag for s in within[:half]) < min(s.lag for s in within[half:])
        if not grown or behind_s < LEAST_LAG_S:
            return ""
        worth = f"{behind_s:.0f} s of reading" if rate > 0 else "nothing is read any more"
        return (
            f"{deployment}: the lag has grown from {first.lag} to {last.lag} records in {_span(limit_ms)} ({worth}); "
            "verdicts come ever later, so the rollout is held."
        )

    def _change(self, deployment: str, rule: str, reason: str, now_ms: int, edge_ms: int | None) -> Signal:
        name = (deployment, rule)
        state: State = "firing" if reason else "resolved"
        opened = self.alerts.setdefault(name, now_ms) if reason else self.alerts.pop(name)
        order = HoldOrder(
            rule, state, reason or f"{deployment}: {_OVER[rule]}", opened, now_ms, self._tick(),
            clock_ms=edge_ms or 0,
        )  # fmt: skip
        return hold_signal(deployment, self.lateness_ms, order, self.dry_run[deployment])

    def _tick(self) -> int:
        self.told += 1
        return FIRST_TICK + self.told % (LAST_TICK - FIRST_TICK)


def vigil_for(config: Config) -> Vigil:
    """The vigil over every deployment of a config."""
    vigil = Vigil({}, {}, 0)
    vigil.configure(config)
    return vigil


def total(lag: Mapping[str, int], partitions: Iterable[str]) -> int | None:
    """Records not yet read over all partitions; None while some are not known."""
    names = list(partitions)
    return sum(lag[name] for name in names) if names and all(name in lag for name in names) else None


def _said(limit_ms: int, for_ms: float, reason: str, *, known: bool) -> str | None:
    if 0 < limit_ms <= for_ms:
        return reason
    return "" if known or not limit_ms else None


def _span(ms: float) -> str:
    return wording.span(int(ms) // 1_000 * 1_000)


_OVER = {
    "blind.no_events": "decisions come again.",
    "blind.lag": "the lag no longer grows.",
    "blind.watermark": "event time moves again.",
}
