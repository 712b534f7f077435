"""The outbox, decided: when an entry is tried, in what order, and what follows from each attempt.

Pure: `now_ms` (steady time) comes in, decisions go out. `outbox_store.py` keeps the entries on disk.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Ending = Literal["delivered", "expired", "superseded", "refused", "exhausted", "dropped"]

STANDARD_DELAYS_MS = tuple(
    1000 * s for s in (5, 300, 1800, 7200, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""Delay after the k-th failed attempt (Standard Webhooks 1.0.0, deliverability)."""

SAFETY_OFFSETS_MS = tuple(1000 * s for s in (0, 1, 2, 5, 10, 30, 60))
"""Ages at which a safety signal is tried; then every minute until an hour has passed."""

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
JITTER = 0.1
RECEIVER_PAUSE_MS = 5 * MINUTE_MS
"""The longest that a Retry-After may hold back a receiver's other entries, or a safety signal."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not this time; `after_ms` is what the receiver itself asked for."""

    after_ms: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Disabled:
    """The receiver wants nothing any more (410)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver understood and said no; `permanent` when asking again cannot help."""

    reason: str
    permanent: bool


Outcome = Delivered | Retry | Disabled | Refused


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One signal on its way to one receiver; `seq` is the order in which entries came in."""

    seq: int
    signal_id: str
    receiver: str
    deployment: str
    alert_key: str
    payload: bytes
    attempt: int
    next_attempt_ms: int
    expires_ms: int | None
    safety: bool
    created_ms: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What may be tried now, most urgent first; what has ended without; when to look again."""

    attempts: tuple[OutboxEntry, ...]
    endings: tuple[tuple[OutboxEntry, Ending], ...]
    next_ms: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The entry is done with."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class Again:
    """The entry is tried again; the receiver is left alone until `paused_until_ms`."""

    entry: OutboxEntry
    paused_until_ms: int | None = None


def plan(pending: Iterable[OutboxEntry], now_ms: int, paused_until_ms: int = 0) -> Plan:
    """Decide about all pending entries of one receiver: one per deployment may be tried at a time."""
    entries = sorted(pending, key=lambda entry: entry.seq)
    endings = list(_endings(entries, now_ms))
    over = {entry.seq for entry, _ in endings}
    lanes = list(_lanes(entry for entry in entries if entry.seq not in over))
    heads = [_head(lane) for lane in lanes]
    passed = [entry for lane, head in zip(lanes, heads, strict=True) for entry in _passed(lane, head)]
    endings += [(entry, "superseded") for entry in passed]
    over |= {entry.seq for entry in passed}
    due_ms = {entry.seq: max(entry.next_attempt_ms, paused_until_ms) for entry in heads}
    ready = [entry for entry in heads if due_ms[entry.seq] <= now_ms]
    ready.sort(key=lambda entry: (not entry.safety, entry.next_attempt_ms, entry.seq))
    expiries_ms = (
        entry.expires_ms for entry in entries if entry.seq not in over and entry.expires_ms is not None
    )
    return Plan(tuple(ready), tuple(endings), min((*due_ms.values(), *expiries_ms), default=None))


def settle(entry: OutboxEntry, outcome: Outcome, now_ms: int) -> Ended | Again:
    """What follows from one attempt."""
    match outcome:
        case Delivered():
            return Ended("delivered")
        case Refused(permanent=True):
            return Ended("refused")
        case Disabled():
            return Again(replace(entry, attempt=entry.attempt + 1))
        case Retry(after_ms=int(after_ms)):
            return _again(entry, now_ms, max(0, after_ms))
        case _:
            return _again(entry, now_ms, None)


def next_attempt_ms(entry: OutboxEntry, now_ms: int) -> int | None:
    """When an entry whose attempt has just failed is tried again; None when it has been tried enough."""
    failed = entry.attempt + 1
    if entry.safety:
        return now_ms + _jittered(_safety_gap_ms(now_ms - entry.created_ms), entry, failed)
    if failed > len(STANDARD_DELAYS_MS):
        return None
    return now_ms + _jittered(STANDARD_DELAYS_MS[failed - 1], entry, failed)


def overdue(entry: OutboxEntry, now_ms: int, after_ms: int = MINUTE_MS) -> bool:
    """Whether a safety signal has been on its way for so long that a person must know."""
    return entry.safety and now_ms - entry.created_ms >= after_ms


def surplus(pending: Iterable[OutboxEntry], limit: int) -> list[OutboxEntry]:
    """Which entries go when a receiver has more than `limit`: the oldest, safety signals last of all."""
    entries = sorted(pending, key=lambda entry: (entry.safety, entry.seq))
    return entries[: max(0, len(entries) - limit)]


def _again(entry: OutboxEntry, now_ms: int, after_ms: int | None) -> Ended | Again:
    at_ms = next_attempt_ms(entry, now_ms)
    if at_ms is None:
        return Ended("exhausted")
    if after_ms is None:
        return Again(replace(entry, attempt=entry.attempt + 1, next_attempt_ms=at_ms))
    paused_until_ms = now_ms + min(after_ms, RECEIVER_PAUSE_MS)
    asked_ms = paused_until_ms if entry.safety else now_ms + min(after_ms, DAY_MS)
    later = replace(entry, attempt=entry.attempt + 1, next_attempt_ms=max(at_ms, asked_ms))
    return Again(later, paused_until_ms)


def _safety_gap_ms(age_ms: int) -> int:
    """From the age at a failure to the next planned one: fast, by the minute, then as the standard says."""
    age_ms = max(0, age_ms)
    for offset_ms in SAFETY_OFFSETS_MS:
        if offset_ms > age_ms:
            return offset_ms - age_ms
    if age_ms < HOUR_MS:
        return MINUTE_MS
    planned_ms = HOUR_MS
    for delay_ms in STANDARD_DELAYS_MS[1:]:
        planned_ms += delay_ms
        if planned_ms > age_ms:
            return planned_ms - age_ms
    return DAY_MS


def _jittered(gap_ms: int, entry: OutboxEntry, attempt: int) -> int:
    """The gap, up to a tenth longer: spread over receivers and signals, and the same on every run."""
    seed = f"{entry.signal_id}\n{entry.receiver}\n{attempt}".encode()
    share = int.from_bytes(hashlib.blake2b(seed, digest_size=4).digest()) / 2**32
    return gap_ms + int(gap_ms * JITTER * share)


def _endings(entries: list[OutboxEntry], now_ms: int) -> Iterable[tuple[OutboxEntry, Ending]]:
    """Expired entries, and pages that failed before their alert changed again.

    Such a page is stale news and could undo the newer state at a pager. A safety signal is never skipped.
    """
    newest = {entry.alert_key: entry.seq for entry in entries if not _expired(entry, now_ms)}
    for entry in entries:
        if _expired(entry, now_ms):
            yield entry, "expired"
        elif not entry.safety and entry.attempt > 0 and newest[entry.alert_key] > entry.seq:
            yield entry, "superseded"


def _expired(entry: OutboxEntry, now_ms: int) -> bool:
    return entry.expires_ms is not None and now_ms >= entry.expires_ms


def _lanes(entries: Iterable[OutboxEntry]) -> Iterable[list[OutboxEntry]]:
    lanes: dict[str, list[OutboxEntry]] = {}
    for entry in entries:
        lanes.setdefault(entry.deployment, []).append(entry)
    return lanes.values()


def _passed(lane: list[OutboxEntry], head: OutboxEntry) -> list[OutboxEntry]:
    """What a safety signal that goes first leaves behind of its own alert: an old end after it would close that."""
    return [entry for entry in lane if entry.seq < head.seq and entry.alert_key == head.alert_key]


def _head(lane: list[OutboxEntry]) -> OutboxEntry:
    """The oldest of the lane; but a page that keeps failing does not hold up a safety signal behind it."""
    if lane[0].safety or lane[0].attempt == 0:
        return lane[0]
    return next((entry for entry in lane if entry.safety), lane[0])
