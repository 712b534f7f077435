"""Blindness that the log itself shows: no rewards, a lower join rate, a baseline too old. Event time only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from alerts import wording
from alerts.holds import HoldOrder, hold_signal
from alerts.life import Alert, AlertState, Sight, step
from alerts.signal import Signal
from detectors.measurement import Measurement, Verdict

ENOUGH_DUE = 20  # so many rewards were due and none came: by chance less than once in 10^8
ENOUGH_SEEN = 1_000  # decisions after which our own share of rewarded ones is better than the baseline's
LATE = ("reward", "arrived_share")
RULES = ("blind.no_rewards", "blind.join_rate", "blind.baseline_stale")


@dataclass(frozen=True, slots=True)
class BlindLimits:
    """From the config; 0 switches one off. baseline_ms: end of the baseline's data, None without one.

    rewarded_share: of the baseline's decisions, 0 where it holds no reward.
    """

    deployment: str
    bucket_ms: int
    window_ms: int
    lateness_ms: int
    no_rewards_ms: int
    join_rate: bool
    baseline_age_ms: int
    baseline_ms: int | None = None
    rewarded_share: float = 0.0
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one seal counted over all policies: decisions, and those among earlier ones that got their first reward."""

    decisions: int
    rewarded: int


@dataclass(frozen=True, slots=True)
class _Seen:
    sight: Sight
    reason: str


@dataclass(slots=True)
class Blindness:
    """Called at every seal, in every state; its memory is part of the checkpoint.

    since_ms: end of the first bucket with decisions after the last reward, or -1. waiting: decisions since then.
    """

    limits: BlindLimits
    alerts: dict[str, Alert] = field(default_factory=dict)
    since_ms: int = -1
    waiting: int = 0
    decisions: int = 0
    rewarded: int = 0
    late_seals: int = 0

    def at_seal(
        self,
        now_ms: int,
        traffic: Traffic,
        measured: Mapping[tuple[str, str], Iterable[Measurement]],
        index: int,
    ) -> list[Signal]:
        """The holds that follow from one sealed bucket, and their ends; `index` counts the seal's signals so far."""
        self._count(now_ms, traffic)
        seen = {
            "blind.no_rewards": self._rewards(now_ms),
            "blind.join_rate": self._join_rate(measured),
            "blind.baseline_stale": self._baseline(now_ms),
        }
        signals: list[Signal] = []
        for rule, one in seen.items():
            alert, change = step(self.alerts.get(rule, Alert()), one.sight, now_ms, self._keep_seals)
            if alert.state is AlertState.INACTIVE:
                self.alerts.pop(rule, None)
            else:
                self.alerts[rule] = alert
            if change is not None:
                reason = one.reason if change.value == "firing" else _OVER[rule]
                order = HoldOrder(rule, change.value, reason, alert.fired_ms, now_ms, index + len(signals))
                signals.append(
                    hold_signal(self.limits.deployment, self.limits.lateness_ms, order, self.limits.dry_run)
                )
        return signals

    def state(self) -> dict[str, object]:
        """What a checkpoint holds."""
        return {"alerts": self.alerts, "since": self.since_ms, "waiting": self.waiting, "late": self.late_seals,
                "decisions": self.decisions, "rewarded": self.rewarded}  # fmt: skip

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from it; a state of an older version knows nothing of us."""
        if not state:
            return
        self.alerts = {  # codec gives plain words back
            rule: Alert(AlertState(a.state), a.since_ms, a.fired_ms, a.clear_seals)
            for rule, a in state["alerts"].items()  # type: ignore[attr-defined]
        }
        names = ("since_ms", "since"), ("waiting", "waiting"), ("late_seals", "late")
        for mine, theirs in (*names, ("decisions", "decisions"), ("rewarded", "rewarded")):
            setattr(self, mine, state[theirs])

    @property
    def _keep_seals(self) -> int:
        return -(-self.limits.window_ms // self.limits.bucket_ms)

    def _count(self, now_ms: int, traffic: Traffic) -> None:
        self.decisions += traffic.decisions
        self.rewarded += traffic.rewarded
        if traffic.rewarded:
            self.since_ms, self.waiting = -1, 0
        elif traffic.decisions:
            self.since_ms = now_ms if self.since_ms < 0 else self.since_ms
            self.waiting += traffic.decisions

    def _rewards(self, now_ms: int) -> _Seen:
        limit = self.limits.no_rewards_ms
        before = self.decisions - self.waiting
        share = self.rewarded / before if before >= ENOUGH_SEEN else self.limits.rewarded_share
        if not limit or share <= 0:
            return _Seen(Sight.UNKNOWN, "")
        due = self.waiting * min(share, 1.0)
        if self.since_ms < 0 or due < ENOUGH_DUE or now_ms - self.since_ms < limit:
            return _Seen(Sight.CLEAR, "")
        span = wording.span(now_ms - self.since_ms)
        return _Seen(
            Sight.PAID,
            f"{self.limits.deployment}: no reward for {span}, in which {self.waiting} decisions were made and about "
            f"{due:.0f} rewards were due; what the policies earn cannot be seen, so the rollout is held.",
        )

    def _join_rate(self, measured: Mapping[tuple[str, str], Iterable[Measurement]]) -> _Seen:
        if not self.limits.join_rate:
            return _Seen(Sight.UNKNOWN, "")
        found = [m for mine in measured.values() for m in mine if (m.detector, m.statistic) == LATE]
        known = [m for m in found if m.verdict in (Verdict.OK, Verdict.BREACH)]
        if not known:
            return _Seen(Sight.UNKNOWN, "")
        breaches = [m for m in known if m.verdict is Verdict.BREACH]
        self.late_seals = self.late_seals + 1 if breaches else 0
        if not breaches:
            return _Seen(Sight.CLEAR, "")
        worst = min(breaches, key=lambda m: m.value)
        reason = (
            f"{self.limits.deployment}: the join rate is down to {worst.value:.0%} of what was due by now, for "
            f"{wording.span(self.late_seals * self.limits.bucket_ms)}: {worst.reason}; the rollout is held."
        )
        return _Seen(Sight.PAID if 2 * self.late_seals > self._keep_seals else Sight.BREACH, reason)

    def _baseline(self, now_ms: int) -> _Seen:
        limit, ended_ms = self.limits.baseline_age_ms, self.limits.baseline_ms
        if not limit or ended_ms is None:
            return _Seen(Sight.UNKNOWN, "")
        if now_ms - ended_ms <= limit:
            return _Seen(Sight.CLEAR, "")
        return _Seen(
            Sight.PAID,
            f"{self.limits.deployment}: the baseline's data ended {wording.span(now_ms - ended_ms)} ago, and it is "
            f"trusted for {wording.span(limit)}; verdicts compare with a world that may be gone, "
            "so the rollout is held.",
        )


_OVER = {
    "blind.no_rewards": "rewards arrive again.",
    "blind.join_rate": "rewards are joined again as they used to be.",
    "blind.baseline_stale": "the baseline is young enough again.",
}
