"""The baseline artefact: statistics of accepted data per bucket, versioned, content-hashed, without pickle."""

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from detectors.arrays import Arrays
from detectors.protocol import Baseline

FORMAT = 1
FILE_NAME = "baseline.npz"
# what numpy and zipfile raise on bytes that are no archive, or a damaged one
_NOT_OURS = (OSError, ValueError, TypeError, KeyError, EOFError, NotImplementedError, RuntimeError, struct.error,
             zipfile.BadZipFile, zlib.error)  # fmt: skip


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
    segments: tuple[str, ...] = ()  # older baselines name none
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
    _write(buffer, {"meta": _text(meta), "digest": _text(digest), **arrays})
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(buffer.getvalue())
    partial.replace(target)
    return digest


def load(path: Path) -> BaselineFile:
    """Read and verify the artefact; BaselineError says what is wrong with it."""
    target = path / FILE_NAME if path.is_dir() else path
    try:
        arrays = _read(target)
        meta, stored = _untext(arrays.pop("meta")), _untext(arrays.pop("digest"))
        table = dict(json.loads(meta))
    except FileNotFoundError:
        raise BaselineError(
            f"{target}: no such baseline; make it with `policywatch baseline build`"
        ) from None
    except _NOT_OURS as error:
        raise BaselineError(f"{target}: not a baseline: {error}") from error
    if table.get("format") != FORMAT:
        raise BaselineError(f"{target}: format {table.get('format')}, this version reads {FORMAT}")
    if _digest(meta, arrays) != stored:
        raise BaselineError(f"{target}: damaged: its content does not match its hash {stored}")
    try:
        table |= {name: tuple(table[name]) for name in ("labels", "policies", "segments") if name in table}
        facts = Facts(**table)
        return BaselineFile(facts, _unflatten(arrays, facts), stored)
    except (KeyError, TypeError) as error:
        raise BaselineError(f"{target}: made by another version: {error}") from error


def _read(target: Path) -> Arrays:
    with target.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _write(buffer: BinaryIO, arrays: Arrays) -> None:
    """As numpy's own archive, but at the quickest level: a sixth of the time for a tenth more bytes."""
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


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
            segments=facts.segments,
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
