"""Usable events to the columns of their kind."""

from collections.abc import Sequence

import numpy as np

from detectors.arrays import F64, I32, I64, U8, Bool
from monitor.batch import DONE, FINAL, TRUNCATED, DecisionBatch, MetricBatch, RewardBatch, Violation
from monitor.decoding.checks import Checked
from monitor.decoding.columns import (
    MISSING_CODE,
    admit,
    by_name,
    codes,
    floats,
    hashes,
    optional_codes,
    optional_hashes,
    optional_integers,
    register,
    where,
)
from monitor.decoding.decode_settings import DecodeCounts, DecodeSettings, Envelope
from monitor.decoding.distributions import by_action
from monitor.decoding.vectors import Vectors
from monitor.decoding.wire import Decision, Metric, Reward
from monitor.vocabulary import Vocabulary

_NO_CANDIDATE = (np.nan, np.nan, np.nan)


def decision_tables(
    rows: Sequence[Decision],
    place: I64,
    checked: Checked,
    vocabulary: Vocabulary,
    settings: DecodeSettings,
    counts: DecodeCounts,
) -> dict[int, DecisionBatch]:
    """One table per deployment. place (n,): where each decision stands in its EventBatch."""
    found = np.unique(checked.deployment).tolist()
    if len(found) == 1:
        return {found[0]: _decision_table(rows, place, checked, found[0], vocabulary, settings, counts)}
    register(vocabulary.policies, (row.policy for row in rows))
    register(vocabulary.stages, (row.stage or "full" for row in rows))
    _register_segments(rows, checked.deployment, vocabulary, settings)
    tables = {}
    for code in found:
        index = np.flatnonzero(checked.deployment == code)
        chosen = [rows[i] for i in index.tolist()]
        tables[code] = _decision_table(
            chosen, place[index], checked.take(index), code, vocabulary, settings, counts
        )
    return tables


def reward_table(
    rows: Sequence[Reward], place: I64, checked: Checked, vocabulary: Vocabulary, counts: DecodeCounts
) -> RewardBatch:
    """The rewards of a poll."""
    components = [row.components for row in rows]
    costs = [row.costs for row in rows]
    return RewardBatch(
        row=place,
        ts_ms=checked.ts_ms,
        id=hashes([row.decision_id for row in rows]),
        reward=floats([row.reward for row in rows]),
        truth=floats([row.truth for row in rows]),
        flags=_flags(rows),
        components=_numbers(components, "components", None, vocabulary, counts),
        costs=_numbers(costs, "reward_costs", None, vocabulary, counts),
    )


def _flags(rows: Sequence[Reward]) -> U8:
    column = np.zeros(len(rows), np.uint8)
    for flag, said in (
        (DONE, [row.done for row in rows]),
        (TRUNCATED, [row.truncated for row in rows]),
        (FINAL, [row.final for row in rows]),
    ):
        if any(said):
            column[np.array(said, np.bool_)] |= flag
    return column


def metric_table(rows: Sequence[Metric], place: I64, checked: Checked, vocabulary: Vocabulary) -> MetricBatch:
    """The business metrics of a poll."""
    return MetricBatch(
        row=place,
        ts_ms=checked.ts_ms,
        deployment=checked.deployment,
        policy=optional_codes(vocabulary.policies, [row.policy for row in rows]),
        metric=codes(vocabulary.metrics, [row.metric for row in rows]),
        value=floats([row.value for row in rows]),
    )


def _decision_table(
    rows: Sequence[Decision],
    place: I64,
    checked: Checked,
    deployment: int,
    vocabulary: Vocabulary,
    settings: DecodeSettings,
    counts: DecodeCounts,
) -> DecisionBatch:
    envelope = settings.deployments[vocabulary.deployments.names[deployment]].envelope
    action, vector = _actions(rows, deployment, envelope, vocabulary)
    costs = [row.costs for row in rows]
    policy = codes(vocabulary.policies, [row.policy for row in rows])
    stage = codes(vocabulary.stages, [row.stage or "full" for row in rows])
    return DecisionBatch(
        row=place,
        ts_ms=checked.ts_ms,
        id=hashes([row.decision_id for row in rows]),
        policy=policy,
        stage=stage,
        action=action,
        action_vector=vector,
        propensity=checked.propensity,
        entropy=checked.entropy,
        value=floats([row.value for row in rows]),
        confidence=floats([row.confidence for row in rows]),
        latency_ms=floats([row.latency_ms for row in rows]),
        state=checked.states.matrix(vocabulary.state_width.get(deployment, 0)),
        unit=optional_hashes([row.unit for row in rows]),
        episode=optional_hashes([row.episode for row in rows]),
        step=optional_integers([row.step for row in rows]),
        violation=_violations(rows, action, vector, deployment, envelope, vocabulary, counts),
        costs=_numbers(costs, "costs", deployment, vocabulary, counts),
        segments=_segments(rows, deployment, vocabulary, settings, counts),
        candidates=_candidates(rows, deployment, vocabulary, counts),
        probs=_shadow_probs(rows, stage, deployment, vocabulary, counts),
    )


def _actions(
    rows: Sequence[Decision], deployment: int, envelope: Envelope, vocabulary: Vocabulary
) -> tuple[I32, F64]:
    """Codes of discrete actions (MISSING_CODE where continuous) and vectors of continuous ones."""
    labels = vocabulary.action_labels(deployment)
    register(labels, sorted(envelope.actions or ()))
    actions = [row.action for row in rows]
    width = vocabulary.action_width.get(deployment, 0)
    if list not in set(map(type, actions)):
        return codes(labels, actions), np.full((len(rows), width), np.nan)
    vectors = [action if isinstance(action, list) else None for action in actions]
    column = np.full(len(rows), MISSING_CODE, np.int32)
    column[~where(vectors)] = codes(labels, [action for action in actions if not isinstance(action, list)])
    return column, Vectors.of_lists(vectors).matrix(width)


def _violations(
    rows: Sequence[Decision],
    action: I32,
    vector: F64,
    deployment: int,
    envelope: Envelope,
    vocabulary: Vocabulary,
    counts: DecodeCounts,
) -> U8:
    column = np.full(len(rows), Violation.NONE, np.uint8)
    column[_outside(envelope, action, vector, deployment, vocabulary)] = Violation.OUTSIDE_ENVELOPE
    masked = [row.masked for row in rows]
    if any(masked):
        column[[i for i, forbidden in enumerate(masked) if forbidden and _is_masked(rows[i])]] = (
            Violation.MASKED
        )
    broken = np.flatnonzero(column).tolist()
    approved = [i for i in broken if rows[i].approved_by]
    column[approved] = Violation.NONE
    counts.approved += len(approved)
    return column


def _is_masked(row: Decision) -> bool:
    return not isinstance(row.action, list) and str(row.action) in map(str, row.masked or ())


def _outside(envelope: Envelope, action: I32, vector: F64, deployment: int, vocabulary: Vocabulary) -> Bool:
    """Which actions are not in the envelope; a kind of action that the envelope does not speak of is outside."""
    outside = np.zeros(len(action), np.bool_)
    if envelope.actions is not None:
        known = vocabulary.action_labels(deployment).codes
        outside |= ~np.isin(action, [known[label] for label in envelope.actions if label in known])
    if envelope.low is not None and envelope.high is not None:
        inside = (vector >= np.array(envelope.low)) & (vector <= np.array(envelope.high))
        outside |= ~inside.all(axis=1)
    return outside


def _numbers(
    records: Sequence[dict[str, float] | None],
    what: str,
    deployment: int | None,
    vocabulary: Vocabulary,
    counts: DecodeCounts,
) -> dict[str, F64]:
    if not any(records):
        return {}
    names, dropped = admit(vocabulary.column_names(what, deployment), records)
    counts.names_dropped += dropped
    return {name: floats(by_name(records, name)) for name in names}


def _segments(
    rows: Sequence[Decision],
    deployment: int,
    vocabulary: Vocabulary,
    settings: DecodeSettings,
    counts: DecodeCounts,
) -> dict[str, I32]:
    records = [row.segments for row in rows]
    if not any(records):
        return {}
    names, dropped = admit(vocabulary.column_names("segments", deployment), records)
    counts.names_dropped += dropped
    limit = settings.max_segment_values
    return {
        name: optional_codes(vocabulary.segment_labels(name, limit), by_name(records, name)) for name in names
    }


def _register_segments(
    rows: Sequence[Decision], deployment: I32, vocabulary: Vocabulary, settings: DecodeSettings
) -> None:
    """Values that several deployments share get their codes in the order of rows, however the log is cut into polls."""
    for row, code in zip(rows, deployment.tolist(), strict=True):
        if row.segments:
            names = vocabulary.column_names("segments", code)
            before = names.dropped
            admitted, _ = admit(names, [row.segments])
            names.dropped = before
            for name in admitted:
                register(vocabulary.segment_labels(name, settings.max_segment_values), [row.segments[name]])


def _candidates(
    rows: Sequence[Decision], deployment: int, vocabulary: Vocabulary, counts: DecodeCounts
) -> dict[str, F64]:
    records = [row.candidates for row in rows]
    if not any(records):
        return {}
    names, dropped = admit(vocabulary.column_names("candidates", deployment), records)
    counts.names_dropped += dropped
    return {
        name: np.array([(c.p, c.q, c.v) if c else _NO_CANDIDATE for c in by_name(records, name)], np.float64)
        for name in names
    }


def _shadow_probs(
    rows: Sequence[Decision], stage: I32, deployment: int, vocabulary: Vocabulary, counts: DecodeCounts
) -> dict[str, F64]:
    """Whole distributions of shadows: what each would have given the action that was served in its place."""
    shadows = np.flatnonzero(stage == vocabulary.stages.codes.get("shadow", MISSING_CODE)).tolist()
    records = [by_action(rows[i].action_probs) for i in shadows]
    if not any(records):
        return {}
    names, dropped = admit(vocabulary.column_names("probs", deployment), records)
    counts.names_dropped += dropped
    columns = {name: np.full(len(rows), np.nan) for name in names}
    for name, column in columns.items():
        column[shadows] = floats(by_name(records, name))
    return columns
