"""Where an evaluation learns what a candidate would have done: from the log, a function, or a file of probabilities."""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from detectors.arrays import F64, U64, Bool
from monitor.batch import DecisionBatch
from monitor.decoding.columns import hashes
from monitor.frames import take
from monitor.joins.shadows import Statements, chances, situations, statements

Policy = Callable[[F64, Sequence[str]], F64]


class ViewError(Exception):
    """A function or a file that does not give probabilities; not retriable."""


@dataclass(frozen=True, slots=True)
class Seen:
    """p, q, v (n,): as in the wire field `candidates`. probs: (n, actions) of every action, where they are known."""

    p: F64
    q: F64
    v: F64
    probs: F64 | None = None


class View(Protocol):
    """What a candidate says of logged decisions."""

    def knows(self, decisions: DecisionBatch) -> Bool:
        """(n,) of which decisions it says anything."""

    def of(self, decisions: DecisionBatch, actions: Sequence[str]) -> Seen:
        """What it says of these, all of which it knows; actions: the names of the action codes."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A candidate that decisions name."""

    candidate: str

    def knows(self, decisions: DecisionBatch) -> Bool:
        view = decisions.candidates.get(self.candidate)
        return np.zeros(len(decisions), np.bool_) if view is None else ~np.isnan(view[:, 0])

    def of(self, decisions: DecisionBatch, actions: Sequence[str]) -> Seen:
        return Seen(*decisions.candidates[self.candidate].T)


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A candidate that decided in the shadow of what ran, paired as in the daemon; said: by pair, one row each."""

    said: Statements

    def knows(self, decisions: DecisionBatch) -> Bool:
        pair = situations(decisions)
        _, first = np.unique(decisions.id, return_index=True)
        served, times = np.unique(pair[first], return_counts=True)
        return np.isin(pair, self.said.pair) & np.isin(pair, served[times == 1])

    def of(self, decisions: DecisionBatch, actions: Sequence[str]) -> Seen:
        said = take(self.said, np.searchsorted(self.said.pair, situations(decisions)))
        return Seen(chances(said, decisions.action, actions), said.value, said.value)


def shadowed(decisions: DecisionBatch) -> Shadowed:
    """What the decisions of one shadow say; of several in one situation, the first."""
    said = take(statements(decisions), situations(decisions) != 0)
    return Shadowed(take(said, np.unique(said.pair, return_index=True)[1]))


@dataclass(frozen=True, slots=True)
class Function:
    """A candidate as a function: states (n, d) and the names of the actions to probabilities (n, actions)."""

    policy: Policy

    def knows(self, decisions: DecisionBatch) -> Bool:
        if decisions.state.shape[1] == 0:
            return np.zeros(len(decisions), np.bool_)
        return np.asarray((decisions.action >= 0) & np.isfinite(decisions.state).all(axis=1))

    def of(self, decisions: DecisionBatch, actions: Sequence[str]) -> Seen:
        probs = np.asarray(self.policy(decisions.state, tuple(actions)), np.float64)
        _check(probs, (len(decisions), len(actions)))
        unknown = np.full(len(decisions), np.nan)
        return Seen(probs[np.arange(len(decisions)), decisions.action], unknown, unknown, probs)


class _Line(msgspec.Struct):
    decision_id: str
    p: float
    q: float = float("nan")
    v: float = float("nan")


@dataclass(frozen=True, slots=True)
class Probabilities:
    """A candidate as a file of JSON lines {decision_id, p[, q, v]}, as in the wire field; ids sorted, rows (n, 3)."""

    ids: U64
    rows: F64

    def knows(self, decisions: DecisionBatch) -> Bool:
        return np.isin(decisions.id, self.ids)

    def of(self, decisions: DecisionBatch, actions: Sequence[str]) -> Seen:
        return Seen(*self.rows[np.searchsorted(self.ids, decisions.id)].T)


def read_probabilities(path: Path) -> Probabilities:
    """A .jsonl or .jsonl.gz file; ViewError names the line that cannot be used."""
    decoder, lines = msgspec.json.Decoder(_Line), []
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            try:
                line = decoder.decode(text)
            except msgspec.DecodeError as error:
                raise ViewError(f"{path}:{number}: {error}") from error
            if not 0 <= line.p <= 1:
                raise ViewError(f"{path}:{number}: p is {line.p}, not a probability")
            lines.append(line)
    ids, first = np.unique(hashes([line.decision_id for line in lines]), return_index=True)
    rows = np.array([(line.p, line.q, line.v) for line in lines], np.float64).reshape(-1, 3)
    return Probabilities(ids, rows[first])


def _check(probs: F64, shape: tuple[int, int]) -> None:
    if probs.shape != shape:
        raise ViewError(
            f"the candidate gave probabilities of shape {probs.shape} for {shape} decisions and actions"
        )
    if not ((probs >= 0).all() and np.allclose(probs.sum(axis=1), 1.0, atol=1e-3)):
        raise ViewError("the candidate's probabilities are not all >= 0 with a sum of 1 per decision")
