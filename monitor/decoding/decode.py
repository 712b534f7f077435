"""Bytes of one partition to columns: every record is either in the batch or rejected with a reason, exactly once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Generic, TypeVar, cast

import msgspec
import numpy as np

from detectors.arrays import I64
from monitor.batch import EventBatch, Kind, Rejected
from monitor.decoding import dsjson, states
from monitor.decoding.checks import NOTHING_CHECKED, Checked, check_decisions, check_metrics, check_rewards
from monitor.decoding.columns import integers, register
from monitor.decoding.decode_settings import DecodeCounts, DecodeSettings, Format
from monitor.decoding.probe import take_probes
from monitor.decoding.reasons import Fault, Faults, Reason, UnusableError, diagnose
from monitor.decoding.tables import decision_tables, metric_table, reward_table
from monitor.decoding.vectors import Vectors
from monitor.decoding.wire import Decision, Metric, Read, Reward, by_path, reader
from monitor.vocabulary import Vocabulary

Row = TypeVar("Row", Decision, Reward, Metric)

_UNREADABLE = (UnusableError, msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


@dataclass(slots=True)
class _Rows(Generic[Row]):
    """Events of one kind, the positions of their records in the poll, and the columns that their checks found."""

    at: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    columns: Checked = NOTHING_CHECKED


@dataclass(slots=True)
class _Poll:
    """The events of a poll by kind. states: of the decisions, None where their rows hold them."""

    decisions: _Rows[Decision] = field(default_factory=_Rows)
    rewards: _Rows[Reward] = field(default_factory=_Rows)
    metrics: _Rows[Metric] = field(default_factory=_Rows)
    states: Vectors | None = None


def decode(
    partition: str,
    offsets: Sequence[int],
    payloads: Sequence[bytes | None],
    kind: Kind | None,
    vocabulary: Vocabulary,
    settings: DecodeSettings,
    counts: DecodeCounts | None = None,
) -> tuple[EventBatch, list[Rejected]]:
    """The usable events as columns and the rest as rejections; no bytes whatever make it raise.

    kind None: the record's own `type` decides, as in files. New labels and widths are entered in the vocabulary in
    row order and by usable events only, so that they do not depend on how a log is cut into polls.
    """
    counts = DecodeCounts() if counts is None else counts
    faults: Faults = {}
    poll = _read(
        payloads, _screen(payloads, settings.max_record_bytes, faults), offsets, kind, settings, faults
    )
    _check(poll, vocabulary, settings, faults)
    if faults:
        probes = take_probes(poll.decisions.rows, poll.decisions.at, faults, counts)
        poll = _without(poll, faults)
        faults = {place: fault for place, fault in faults.items() if place not in probes}
    if poll.metrics.rows and poll.decisions.rows:
        _register_policies(poll, vocabulary)
    batch = _batch(partition, offsets, payloads, poll, vocabulary, settings, counts)
    return batch, _rejections(partition, offsets, payloads, faults, settings.max_rejected_bytes)


def _screen(payloads: Sequence[bytes | None], limit: int, faults: Faults) -> list[int]:
    """Positions of the records worth parsing: there, not too long, and UTF-8 throughout.

    The parser skips the text of unknown fields unread, so that UTF-8 is looked at here.
    """
    if _all_plain(payloads, limit):
        return list(range(len(payloads)))
    for i, payload in enumerate(payloads):
        fault = _unparsable(payload, limit)
        if fault:
            faults[i] = fault
    return [i for i in range(len(payloads)) if i not in faults]


def _all_plain(payloads: Sequence[bytes | None], limit: int) -> bool:
    """Whether nothing has to be looked at one by one; each question goes through all records in C."""
    if not all(payloads):
        return False
    there = cast(Sequence[bytes], payloads)
    return max(map(len, there), default=0) <= limit and all(map(bytes.isascii, there))


def _unparsable(payload: bytes | None, limit: int) -> Fault | None:
    if payload is None:
        return Fault(Reason.TOMBSTONE, "no value")
    if len(payload) > limit:
        return Fault(Reason.OVERSIZE, f"more than {limit} bytes")
    if payload.isascii():
        return None
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        return diagnose(payload, error)
    return None


def _read(
    payloads: Sequence[bytes | None],
    usable: list[int],
    offsets: Sequence[int],
    kind: Kind | None,
    settings: DecodeSettings,
    faults: Faults,
) -> _Poll:
    chosen: list[bytes] = [payloads[i] for i in usable]  # type: ignore[misc]
    if settings.format is Format.VW_DSJSON:
        return _read_dsjson(chosen, usable, offsets, settings, faults)
    quick = _read_apart(chosen, usable, kind, settings)
    if quick is not None:
        return quick
    at, events = _parse(chosen, usable, reader(kind, settings.fields), faults)
    return _sorted_out(at, events, kind)


def _read_apart(
    payloads: list[bytes], at: list[int], kind: Kind | None, settings: DecodeSettings
) -> _Poll | None:
    """The poll with its states read apart, where all of its records allow it."""
    if kind not in (None, Kind.DECISION) or by_path(settings.fields):
        return None
    apart = states.cut(payloads, settings.fields.get("state", "state"))
    if apart is None:
        return None
    try:
        poll = _sorted_out(at, list(map(reader(kind, settings.fields, marked=True), apart.payloads)), kind)
    except _UNREADABLE:
        return None
    marks = cast("list[str | None]", [row.state for row in poll.decisions.rows])
    poll.states = states.vectors(marks, apart.numbers)
    return poll if poll.states is not None else None


def _sorted_out(at: list[int], events: list[Any], kind: Kind | None) -> _Poll:
    parts = _by_kind(at, events) if kind is None else {kind: _Rows(at, events)}
    decisions, rewards, metrics = (parts.get(wanted, _Rows()) for wanted in Kind)
    return _Poll(decisions, rewards, metrics)


def _by_kind(at: list[int], events: list[Any]) -> "dict[Kind, _Rows[Any]]":
    kinds = [event.kind for event in events]
    parts = {}
    for wanted in Kind:
        mine = [kind is wanted for kind in kinds]
        parts[wanted] = _Rows(list(compress(at, mine)), list(compress(events, mine)))
    return parts


def _parse(payloads: list[bytes], at: list[int], read: Read, faults: Faults) -> tuple[list[int], list[Any]]:
    """All records in one go; only if one of them fails, one by one to name it."""
    try:
        return at, list(map(read, payloads))
    except _UNREADABLE:
        pass
    places, events = [], []
    for i, payload in zip(at, payloads, strict=True):
        try:
            events.append(read(payload))
        except _UNREADABLE as error:
            faults[i] = diagnose(payload, error)
        else:
            places.append(i)
    return places, events


def _read_dsjson(
    payloads: list[bytes], at: list[int], offsets: Sequence[int], settings: DecodeSettings, faults: Faults
) -> _Poll:
    poll = _Poll()
    for i, payload in zip(at, payloads, strict=True):
        try:
            decision, reward = dsjson.read(payload, offsets[i], settings.dsjson)
        except _UNREADABLE as error:
            faults[i] = diagnose(payload, error)
            continue
        if decision is not None:
            poll.decisions.at.append(i)
            poll.decisions.rows.append(decision)
        if reward is not None:
            poll.rewards.at.append(i)
            poll.rewards.rows.append(reward)
    return poll


def _check(poll: _Poll, vocabulary: Vocabulary, settings: DecodeSettings, faults: Faults) -> None:
    """Decisions last, since a usable one may fix the width of states, and a line may hold a decision and its reward."""
    rewards, metrics, decisions = poll.rewards, poll.metrics, poll.decisions
    rewards.columns = check_rewards(rewards.rows, rewards.at, faults)
    metrics.columns = check_metrics(metrics.rows, metrics.at, vocabulary, settings, faults)
    found = poll.states if poll.states is not None else Vectors.of_lists([r.state for r in decisions.rows])
    decisions.columns = check_decisions(decisions.rows, decisions.at, found, vocabulary, settings, faults)


def _without(poll: _Poll, faults: Faults) -> _Poll:
    return _Poll(_kept(poll.decisions, faults), _kept(poll.rewards, faults), _kept(poll.metrics, faults))


def _kept(part: _Rows[Row], faults: Faults) -> _Rows[Row]:
    keep = [k for k, i in enumerate(part.at) if i not in faults]
    return _Rows(
        [part.at[k] for k in keep], [part.rows[k] for k in keep], part.columns.take(np.array(keep, np.intp))
    )


def _register_policies(poll: _Poll, vocabulary: Vocabulary) -> None:
    """Policies that decisions and metrics share get their codes in the order of rows, whatever their kind."""
    decisions, metrics = poll.decisions, poll.metrics
    named = [(i, row.policy) for i, row in zip(decisions.at, decisions.rows, strict=True)]
    named += [
        (i, row.policy) for i, row in zip(metrics.at, metrics.rows, strict=True) if row.policy is not None
    ]
    register(vocabulary.policies, (policy for _, policy in sorted(named)))


def _batch(
    partition: str,
    offsets: Sequence[int],
    payloads: Sequence[bytes | None],
    poll: _Poll,
    vocabulary: Vocabulary,
    settings: DecodeSettings,
    counts: DecodeCounts,
) -> EventBatch:
    parts = (poll.decisions, poll.rewards, poll.metrics)
    at = np.concatenate([integers(part.at) for part in parts])
    kind = np.repeat(
        np.array([Kind.DECISION, Kind.REWARD, Kind.METRIC], np.uint8), [len(part.at) for part in parts]
    )
    order = np.argsort(at, kind="stable")  # a record that holds both comes as a decision, then its reward
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    decisions, rewards, metrics = np.split(place, np.cumsum([len(part.at) for part in parts])[:2])
    at = at[order]
    return EventBatch(
        partition=partition,
        offsets=integers(offsets)[at],
        ts_ms=np.concatenate([part.columns.ts_ms for part in parts])[order],
        kind=kind[order],
        payloads=_chosen(payloads, at),
        decisions=decision_tables(
            poll.decisions.rows, decisions, poll.decisions.columns, vocabulary, settings, counts
        ),
        rewards=reward_table(poll.rewards.rows, rewards, poll.rewards.columns, vocabulary, counts),
        metrics=metric_table(poll.metrics.rows, metrics, poll.metrics.columns, vocabulary),
        next_offset=int(offsets[-1]) + 1 if len(offsets) else 0,
    )


def _chosen(payloads: Sequence[bytes | None], at: I64) -> Sequence[bytes]:
    """The payloads of the usable events; all of them are handed on as they came."""
    if len(at) == len(payloads) and (at == np.arange(len(at))).all():
        return cast(Sequence[bytes], payloads)
    return [payloads[i] or b"" for i in at.tolist()]


def _rejections(
    partition: str, offsets: Sequence[int], payloads: Sequence[bytes | None], faults: Faults, limit: int
) -> list[Rejected]:
    return [
        Rejected(fault.reason, partition, int(offsets[i]), fault.detail, (payloads[i] or b"")[:limit])
        for i, fault in sorted(faults.items())
    ]
