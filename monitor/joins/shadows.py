"""Decisions of stage `shadow`, paired with the decision that was served in their place.

A decision_id is unique, so a pair is known by what both say of the situation: `episode` and `step`, else `unit` and
the same `ts`. What the shadow says of itself becomes what a candidate says of the served decision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from detectors.arrays import F64, I32, I64, U64, Bool
from monitor.batch import DecisionBatch
from monitor.episodes.hash_index import mixed
from monitor.frames import concat, take
from monitor.joins.runs import Column, Runs
from monitor.vocabulary import Vocabulary

STAGE = "shadow"
MOST_WAITING = 20_000  # of shadows whose served decision has not come
MOST_SERVED = 2_000_000  # decisions that shadows may speak of
MOST = 8  # shadows of one deployment that are counted at a time
SUM_TOLERANCE = 0.01  # distributions written with two or three decimals are whole
_LONG_AGO = -(1 << 62)


@dataclass(frozen=True, slots=True)
class Statements:
    """What shadows would have done; columns (n,). pair: the situation. probs: action -> (n,), NaN where not listed."""

    pair: U64
    ts_ms: I64
    policy: I32
    action: I32
    value: F64
    probs: dict[str, F64] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pair)


@dataclass(frozen=True, slots=True)
class View:
    """What one shadow says of served decisions: their ids (n,), and (n, 3) p, q, v as in the field `candidates`."""

    policy: str
    decision: U64
    columns: F64


@dataclass(frozen=True, slots=True)
class Pairs:
    """How a shadow's decisions came out: paired, without a named situation, without a served decision, continuous."""

    paired: int = 0
    nameless: int = 0
    alone: int = 0
    continuous: int = 0
    seen_ms: int = _LONG_AGO

    @property
    def total(self) -> int:
        """Decisions whose fate is known."""
        return self.paired + self.nameless + self.alone + self.continuous


class Shadows:
    """What waits to be paired; empty, and free, while no shadow decides.

    A situation that was served twice names no decision: what is said of it stays alone. Served decisions are kept
    from a shadow's first decision on, until one horizon after its last; what stays alone within a horizon of that
    first one is not counted, for its served decision may have come before.
    """

    def __init__(self, vocabulary: Vocabulary, deployment: int, horizon_ms: int) -> None:
        self._vocabulary, self._deployment, self._horizon_ms = vocabulary, deployment, horizon_ms
        self._served = Runs(
            {"decision": Column("u8", 0), "action": Column("i4", -1), "twice": Column("u1", 0)}
        )
        self._waiting: list[Statements] = []
        self._since_ms = self._heard_ms = _LONG_AGO
        self.pairs: dict[str, Pairs] = {}
        self.left_out = 0

    def hear(self, decisions: DecisionBatch) -> Bool | None:
        """(n,) which of these decisions were served while a shadow listened; None where none does."""
        mine = decisions.stage == self._vocabulary.stages.codes[STAGE]
        if mine.any():
            first_ms = int(decisions.ts_ms.min())
            self._since_ms = first_ms if self._is_over(first_ms) else self._since_ms
            self._heard_ms = max(self._heard_ms, int(decisions.ts_ms[mine].max()))
        if not len(decisions) or self._is_over(int(decisions.ts_ms.min())):
            return None
        served: Bool = ~mine
        pair = situations(decisions)
        known = np.flatnonzero(served & (pair != 0))[: max(MOST_SERVED - len(self._served), 0)]
        fresh = self._served.insert(
            pair[known],
            decisions.ts_ms[known],
            {"decision": decisions.id[known], "action": decisions.action[known]},
        )
        again = self._served.find(pair[known[~fresh]])
        self._served.write("twice", again[again >= 0], np.ones(int((again >= 0).sum()), np.uint8))
        if mine.any():
            self._wait(statements(take(decisions, mine)))
        return served

    def speak(self) -> list[View]:
        """What shadows say of the served decisions that are known by now; the rest waits."""
        if not self._waiting:
            return []
        said = concat(self._waiting)
        place = self._served.find(said.pair)
        found = place >= 0
        twice = np.zeros(len(said), np.bool_)
        twice[found] = self._served.read("twice", place[found]) > 0
        self._count(take(said, twice), "alone")
        here = found & ~twice
        self._waiting = [take(said, ~found)] if not found.all() else []
        said, place = take(said, here), place[here]
        labels = self._vocabulary.action_labels(self._deployment).names
        p = chances(said, self._served.read("action", place), labels)
        told = ~np.isnan(p)
        self._count(take(said, told), "paired")
        self._count(take(said, ~told), "continuous")
        # A value of the state alone is a control variate: it needs no critic of the action (docs/ope.md).
        columns, decision = (
            np.stack([p, said.value, said.value], axis=1),
            self._served.read("decision", place),
        )
        return [
            View(self._vocabulary.policies.names[code], decision[mine], columns[mine])
            for code in np.unique(said.policy).tolist()
            for mine in [said.policy == code]
        ]

    def expire(self, before_ms: int) -> None:
        """What is older stays alone."""
        self._served.expire(before_ms)
        if self._waiting and int(min(part.ts_ms.min() for part in self._waiting)) < before_ms:
            said = concat(self._waiting)
            old = said.ts_ms < before_ms
            self._count(take(said, old & (said.ts_ms >= self._since_ms + self._horizon_ms)), "alone")
            self._waiting = [take(said, ~old)] if not old.all() else []

    def forget(self, before_ms: int) -> None:
        """Shadows that have not decided since are forgotten."""
        self.pairs = {name: pairs for name, pairs in self.pairs.items() if pairs.seen_ms >= before_ms}

    def state(self) -> dict[str, Any]:
        """All that is remembered."""
        return {
            "served": self._served.arrays(),
            "waiting": self._waiting,
            "heard_ms": [self._since_ms, self._heard_ms],
            "pairs": self.pairs,
            "left_out": self.left_out,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken; for a table that is still empty."""
        self._served.restore(state["served"])
        self._waiting, (self._since_ms, self._heard_ms) = state["waiting"], state["heard_ms"]
        self.pairs, self.left_out = state["pairs"], state["left_out"]

    def _is_over(self, now_ms: int) -> bool:
        """Whether no shadow has decided for a horizon."""
        return self._heard_ms < now_ms - self._horizon_ms

    def _wait(self, said: Statements) -> None:
        self._count(take(said, said.pair == 0), "nameless")
        said = take(said, said.pair != 0)
        whole = concat([*self._waiting, said])
        over = max(len(whole) - MOST_WAITING, 0)
        self._count(take(whole, slice(0, over)), "alone")
        whole = take(whole, slice(over, None)) if over else whole
        self._waiting = [whole] if len(whole) else []

    def _count(self, said: Statements, fate: str) -> None:
        for code in np.unique(said.policy).tolist():
            name, mine = self._vocabulary.policies.names[code], said.policy == code
            n = int(mine.sum())
            if name not in self.pairs and len(self.pairs) >= MOST:
                self.left_out += n
                continue
            before = self.pairs.get(name, Pairs())
            seen_ms = max(before.seen_ms, int(said.ts_ms[mine].max()))
            self.pairs[name] = replace(before, **{fate: getattr(before, fate) + n}, seen_ms=seen_ms)


def statements(d: DecisionBatch) -> Statements:
    """What the decisions of shadows say."""
    return Statements(situations(d), d.ts_ms, d.policy, d.action, d.value, d.probs)


def situations(decisions: DecisionBatch) -> U64:
    """(n,) one code per situation: episode and step, else unit and time; 0 where neither is named."""
    d = decisions
    in_episode = (d.episode != 0) & (d.step >= 0)
    who = np.where(in_episode, d.episode, d.unit)
    when = np.where(in_episode, d.step, d.ts_ms).astype(np.uint64)
    code = mixed(who ^ mixed(when + (in_episode.astype(np.uint64) << np.uint64(63))))
    return np.where(who == 0, np.uint64(0), np.maximum(code, np.uint64(1)))


def chances(said: Statements, served: I32, labels: Sequence[str]) -> F64:
    """(n,) the probability with which each shadow gives the served action (n,), NaN where actions are continuous.

    From the whole distribution where one is logged, with the shadow's own action in it. Else 1 where both actions are
    the same and 0 where not: what a deterministic shadow gives, and for one that draws on its own an unbiased stand-in
    for its probability, since E[1(A' = a)] = pi(a | x).
    """
    told = (served >= 0) & (said.action >= 0)
    drawn = np.where(told, (said.action == served).astype(np.float64), np.nan)
    if not said.probs:
        return drawn
    total = np.nan_to_num(np.stack(list(said.probs.values()))).sum(axis=0)
    own, given = (_listed(said.probs, action, labels) for action in (said.action, served))
    whole = told & (np.abs(total - 1) <= SUM_TOLERANCE) & (own > 0)
    return np.where(whole, np.minimum(given, 1.0), drawn)


def _listed(probs: Mapping[str, F64], action: I32, labels: Sequence[str]) -> F64:
    """(n,) what each row's distribution gives an action (n,): 0 where it does not list it."""
    found = np.zeros(len(action))
    for code in np.unique(action[action >= 0]).tolist():
        column, mine = probs.get(labels[code]), action == code
        if column is not None:
            found[mine] = np.nan_to_num(column[mine])
    return found
