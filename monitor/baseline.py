"""The baseline artefact: statistics of accepted data per bucket, versioned, content-hashed, without pickle."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detectors.arrays import Arrays
from detectors.protocol import Baseline

FORMAT = 1
FILE_NAME = "baseline.npz"


class BaselineError(Exception):
    """A baseline that cannot be read or does not fit; not retriable."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a person asks of a baseline first. *_ms: event time of the data; settings: what it was counted with."""

    deployment: str
    decisions: int
    rewards: int
    first_ms: int
    last_ms: int
    bucket_ms: int
    state_width: int
    labels: tuple[str, ...]
    policies: tuple[str, ...]
    settings: dict[str, Any]
    detectors: dict[str, int]
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class BaselineFile:
    """parts: detector -> its schema and its series of buckets. digest: hash of all of it."""

    facts: Facts
    parts: Mapping[str, Baseline]
    digest: str

    @property
    def span_ms(self) -> int:
        """Event time covered."""
        return self.facts.last_ms - self.facts.first_ms + self.facts.bucket_ms


def save(path: Path, facts: Facts, parts: Mapping[str, Baseline]) -> str:
    """Write the artefact and return its content hash; the file appears whole or not at all."""
    arrays = _flatten(parts)
    meta = json.dumps(asdict(facts), sort_keys=True)
    digest = _digest(meta, arrays)
    target = path / FILE_NAME if path.is_dir() else path
    target.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, meta=_text(meta), digest=_text(digest), **arrays)  # type: ignore[arg-type]
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(buffer.getvalue())
    partial.replace(target)
    return digest


def load(path: Path) -> BaselineFile:
    """Read and verify the artefact; BaselineError says what is wrong with it."""
    target = path / FILE_NAME if path.is_dir() else path
    try:
        with np.load(target, allow_pickle=False) as archive:
            arrays: Arrays = {name: archive[name] for name in archive.files}
        meta, stored = _untext(arrays.pop("meta")), _untext(arrays.pop("digest"))
        table = json.loads(meta)
    except FileNotFoundError:
        raise BaselineError(
            f"{target}: no such baseline; make it with `policywatch baseline build`"
        ) from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BaselineError(f"{target}: not a baseline: {error}") from error
    if table.get("format") != FORMAT:
        raise BaselineError(f"{target}: format {table.get('format')}, this version reads {FORMAT}")
    if _digest(meta, arrays) != stored:
        raise BaselineError(f"{target}: damaged: its content does not match its hash {stored}")
    table["labels"], table["policies"] = tuple(table["labels"]), tuple(table["policies"])
    try:
        facts = Facts(**table)
    except TypeError as error:
        raise BaselineError(f"{target}: its facts are not those of format {FORMAT}: {error}") from error
    return BaselineFile(facts, _unflatten(arrays, facts), stored)


def _flatten(parts: Mapping[str, Baseline]) -> Arrays:
    arrays: Arrays = {}
    for name, part in parts.items():
        arrays |= {f"{name}/schema/{key}": value for key, value in part.schema.items()}
        arrays |= {f"{name}/series/{key}": value for key, value in part.series.items()}
        arrays[f"{name}/starts_ms"] = np.asarray(part.starts_ms, np.int64)
        arrays[f"{name}/bucket_ms"] = np.asarray([part.bucket_ms], np.int64)
    return arrays


def _unflatten(arrays: Arrays, facts: Facts) -> dict[str, Baseline]:
    names = sorted({key.split("/", 1)[0] for key in arrays})
    parts = {}
    for name in names:
        own = {key.split("/", 1)[1]: value for key, value in arrays.items() if key.startswith(f"{name}/")}
        parts[name] = Baseline(
            schema={k.removeprefix("schema/"): v for k, v in own.items() if k.startswith("schema/")},
            series={k.removeprefix("series/"): v for k, v in own.items() if k.startswith("series/")},
            starts_ms=[int(start) for start in own["starts_ms"]],
            bucket_ms=int(own["bucket_ms"][0]),
            labels=facts.labels,
        )
    return parts


def _digest(meta: str, arrays: Arrays) -> str:
    digest = hashlib.blake2b(meta.encode(), digest_size=16)
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}:{value.dtype.str}:{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _text(text: str) -> Any:
    return np.frombuffer(text.encode(), np.uint8)


def _untext(array: Any) -> str:
    return bytes(array).decode()
