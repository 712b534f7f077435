"""Wire records for tests, and a decode with few words."""

import json
from collections.abc import Sequence
from typing import Any

from monitor.batch import DecisionBatch, EventBatch, Kind, Rejected
from monitor.decoding.decode import decode
from monitor.decoding.decode_settings import DecodeCounts, DecodeSettings, DeploymentSettings
from monitor.vocabulary import Labels, Vocabulary

TS = 1_767_225_600_000
SETTINGS = DecodeSettings(
    {"home": DeploymentSettings(), "shop": DeploymentSettings()}, default_deployment="home"
)


def vocabulary() -> Vocabulary:
    """Knows the two deployments."""
    return Vocabulary(Labels(2, ["home", "shop"], {"home": 0, "shop": 1}))


def decision(**changed: Any) -> dict[str, Any]:
    """A plain decision; a field given as `...` is left out."""
    record = {"type": "decision", "decision_id": "d1", "ts": TS, "policy": "v1", "action": 1} | changed
    return {name: value for name, value in record.items() if value is not ...}


def reward(**changed: Any) -> dict[str, Any]:
    """A plain reward."""
    record = {"type": "reward", "decision_id": "d1", "ts": TS, "reward": 1.0} | changed
    return {name: value for name, value in record.items() if value is not ...}


def metric(**changed: Any) -> dict[str, Any]:
    """A plain business metric."""
    record = {"type": "metric", "metric": "sales", "ts": TS, "value": 2.5} | changed
    return {name: value for name, value in record.items() if value is not ...}


def wire(record: Any) -> bytes | None:
    """A record's bytes; bytes and None stand for themselves."""
    return record if record is None or isinstance(record, bytes) else json.dumps(record).encode()


def read(
    *records: Any,
    kind: Kind | None = None,
    settings: DecodeSettings = SETTINGS,
    words: Vocabulary | None = None,
    counts: DecodeCounts | None = None,
    first: int = 100,
) -> tuple[EventBatch, list[Rejected]]:
    """One poll."""
    payloads = [wire(record) for record in records]
    offsets: Sequence[int] = range(first, first + len(payloads))
    return decode("p-0", offsets, payloads, kind, words or vocabulary(), settings, counts)


def decided(*records: Any, **how: Any) -> DecisionBatch:
    """The decisions of the first deployment, all of them usable."""
    batch, rejected = read(*records, **how)
    assert rejected == []
    return batch.decisions[0]


def reason(record: Any, **how: Any) -> str:
    """Why the one record is rejected."""
    batch, rejected = read(record, **how)
    assert len(batch) == 0
    (only,) = rejected
    assert only.offset == 100
    return only.reason
