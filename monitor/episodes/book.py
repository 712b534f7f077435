"""Which decisions form an episode, what their critic targets are, and how the episode ended."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64, I32, I64, U64, Arrays, Bool
from monitor.batch import DONE, TRUNCATED
from monitor.episodes.hash_index import HashIndex, mixed
from monitor.episodes.returns import adjacent, discounted_tails, n_step_targets, ranges
from monitor.episodes.rows import EndedEpisodes, EpisodePlan, NewSteps, RewardUpdates, Targets
from monitor.episodes.slots import BROKEN, ENDED, SETTLED, SlotTable
from monitor.episodes.trajectories import StepRows, Trajectories, known_sum

__all__ = ("COUNTERS", "EndedEpisodes", "EpisodeBook", "EpisodePlan", "NewSteps", "RewardUpdates", "Targets")

_RETIRED_AT_ONCE = 32  # rows, so that an endless episode is not folded step by step
COUNTERS = ("idle", "unmatched", "overflow", "too_long", "incomplete")


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The rows of some slots up to each one's first end: places end to end, and where each stretch begins."""

    slots: I64
    place: I64
    first: I64
    length: I64
    done: Bool
    cut: Bool

    @property
    def last(self) -> I64:
        return self.first + self.length - 1


class EpisodeBook:
    """Open episodes of one deployment; an episode that changes key (policy, stage) is two.

    The cost of a tick follows the rows it touches: n_steps rows back per new row or reward; whole episodes only
    when they end. After an episode has ended its rows stay for one idle horizon, for rewards that change.
    """

    def __init__(self, plan: EpisodePlan) -> None:
        self._plan = plan
        self._n = {"reward": 1, "td": 1, "n-step": plan.n_steps, "episode": 0}[plan.returns]
        self._names = tuple(plan.cost_gammas)
        self._cost_gamma = np.array([plan.cost_gammas[name] for name in self._names])
        self._steps = Trajectories(len(self._names))
        self._slots = SlotTable(len(self._names))
        self._index = HashIndex()
        self._queue: deque[tuple[int, I64]] = deque()
        self._queued = 0
        self._counts = np.zeros(len(COUNTERS), np.int64)

    @property
    def counters(self) -> dict[str, int]:
        """Since the start: episodes closed idle, rewards without a step, episodes over a limit or with holes."""
        return dict(zip(COUNTERS, self._counts.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self._steps)

    def advance(self, now_ms: int, steps: NewSteps, updates: RewardUpdates) -> tuple[Targets, EndedEpisodes]:
        """One sealed tick: what is new goes in, what became known comes out. now_ms never goes back."""
        if not len(steps.id) and not len(updates.id) and not self._due(now_ms):
            return _NO_TARGETS, self._joined([self._ended(self._stretch(np.empty(0, np.int64)), _NEVER)])
        new_slot, new_place = self._add(steps)
        changed_slot, changed_place = self._apply(updates)
        touched = np.unique(np.concatenate([new_slot, changed_slot]))
        ended = self._stretch(touched[(self._slots.flags[touched] & ENDED) > 0])
        if self._n:
            targets = self._near(
                np.concatenate([new_slot, changed_slot]), np.concatenate([new_place, changed_place])
            )
        else:
            targets = self._whole(ended)
        closing = [self._settle(ended)]
        self._touch(now_ms, touched)
        self._retire(now_ms, touched)
        too_long = touched[self._steps.runs.length[touched] > self._plan.max_steps]
        self._count("too_long", len(too_long))
        closing += [self._close(too_long), self._close(self._idle(now_ms)), *self._overflow()]
        return targets, self._joined(closing)

    def state(self) -> Arrays:
        """Everything remembered, as plain arrays."""
        queue = list(self._queue)
        return {
            **{f"slot_{name}": column for name, column in self._slots.arrays().items()},
            **{f"step_{name}": column for name, column in self._steps.arrays().items()},
            "queue_ms": np.array([ms for ms, _ in queue], np.int64),
            "queue_length": np.array([len(slots) for _, slots in queue], np.int64),
            "queue_slots": np.concatenate([slots for _, slots in queue]) if queue else np.empty(0, np.int64),
            "counts": self._counts.copy(),
        }

    def restore(self, arrays: Arrays) -> None:
        """The inverse of `state`, on a book of the same plan."""
        part = {name.split("_", 1)[0] for name in arrays}
        own = {
            p: {k.removeprefix(f"{p}_"): v for k, v in arrays.items() if k.startswith(f"{p}_")} for p in part
        }
        self._slots.restore(own["slot"])
        self._steps.restore(own["step"])
        self._index = HashIndex()
        live = self._slots.live()
        self._index.insert(self._slots.code[live], live)
        ends = np.cumsum(arrays["queue_length"].astype(np.int64))
        chunks = np.split(arrays["queue_slots"].astype(np.int64), ends[:-1]) if len(ends) else []
        self._queue = deque(zip(arrays["queue_ms"].tolist(), chunks, strict=True))
        self._queued = sum(len(chunk) for chunk in chunks)
        self._counts = arrays["counts"].astype(np.int64)

    def _add(self, new: NewSteps) -> tuple[I64, I64]:
        n = len(new.id)
        if not n:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        codes, first, inverse = np.unique(
            _codes(new.key, new.episode, new.id), return_index=True, return_inverse=True
        )
        slots = self._index.find(codes)
        absent = slots < 0
        slots[absent] = self._slots.open(
            codes[absent], new.key[first[absent]], new.episode[first[absent]] != 0
        )
        self._index.insert(codes[absent], slots[absent])
        self._steps.ensure_slots(len(self._slots.code))
        slot = slots[inverse]
        order = np.lexsort((new.id, new.ts_ms, new.step, slot))
        missing = np.full(n, np.nan)
        rows = StepRows(
            new.id, new.bucket_start_ms, new.ts_ms, new.step, new.value, new.action, new.unit, new.segments,
            missing, missing, np.zeros(n, np.uint8), self._cost_columns(new.costs, n),
            np.full((n, len(self._names)), np.nan),
        )  # fmt: skip
        return slot[order], self._steps.append(slot[order], rows.take(order))

    def _apply(self, new: RewardUpdates) -> tuple[I64, I64]:
        slot = self._index.find(_codes(new.key, new.episode, new.id))
        place = np.full(len(slot), -1, np.int64)
        known = np.flatnonzero(slot >= 0)
        place[known] = self._steps.find(slot[known], new.step[known], new.ts_ms[known], new.id[known])
        at = np.flatnonzero(place >= 0)
        self._count("unmatched", len(slot) - len(at))
        rows, slot, place = self._steps.rows, slot[at], place[at]
        arrived = ~np.isnan(new.reward[at])
        rows.reward[place[arrived]] = new.reward[at[arrived]]
        np.bitwise_or.at(rows.flags, place, new.flags[at])
        for j, name in enumerate(self._names):
            if name in new.costs:
                paid = ~np.isnan(new.costs[name][at])
                rows.reward_cost[place[paid], j] = new.costs[name][at[paid]]
        ends = (new.flags[at] & (DONE | TRUNCATED)) > 0
        self._slots.flags[slot[ends]] |= np.uint8(ENDED)
        return slot, place

    def _near(self, slot: I64, place: I64) -> Targets:
        """Targets that look at most n steps ahead of rows that are new or changed."""
        start = self._steps.runs.start[slot]
        back = np.minimum(self._n, place - start)
        rows, at = np.unique(ranges(place - back, back + 1), return_index=True)
        owner = np.repeat(slot, back + 1)[at]
        r, plan = self._steps.rows, self._plan
        if plan.returns == "reward":
            return self._given(owner, rows, r.reward[rows])
        stop = (self._steps.runs.start + self._steps.runs.length)[owner]
        return self._given(
            owner, rows,
            n_step_targets(rows, stop, self._n, plan.gamma, r.reward, r.value, r.flags, r.step, r.ts_ms),
        )  # fmt: skip

    def _whole(self, ended: _Stretch) -> Targets:
        """Monte-Carlo returns to go of episodes that ended by done; unknown before a hole, censored if cut off."""
        x = self._steps.rows.reward[ended.place]
        x[self._holes(ended)] = np.nan
        x[ended.last[ended.cut]] = np.nan
        reach = np.repeat(ended.last, ended.length) - np.arange(len(x))
        owner = np.repeat(ended.slots, ended.length)
        return self._given(owner, ended.place, discounted_tails(x, reach, self._plan.gamma))

    def _given(self, slot: I64, place: I64, target: F64) -> Targets:
        """Gives out the targets that are known and new, and remembers them."""
        rows = self._steps.rows
        fresh = ~np.isnan(target) & ~np.isnan(rows.value[place]) & (target != rows.target[place])
        slot, place, target = slot[fresh], place[fresh], target[fresh]
        key = self._slots.key[slot]
        order = np.lexsort((rows.id[place], rows.ts_ms[place], rows.bucket_start_ms[place], key))
        slot, place, target, key = slot[order], place[order], target[order], key[order]
        before = rows.target[place]
        rows.target[place] = target
        return Targets(
            key,
            rows.bucket_start_ms[place],
            rows.value[place],
            before,
            target,
            rows.action[place],
            rows.unit[place],
            rows.segments[place],
        )

    def _stretch(self, slots: I64) -> _Stretch:
        if not len(slots):
            none = np.empty(0, np.int64)
            return _Stretch(slots, none, none, none, np.empty(0, np.bool_), np.empty(0, np.bool_))
        place, length = self._steps.places(slots), self._steps.runs.length[slots]
        flags = self._steps.rows.flags[place]
        first = np.cumsum(length) - length
        ordinal = np.arange(len(place)) - np.repeat(first, length)
        is_end = (flags & (DONE | TRUNCATED)) > 0
        upto = np.minimum.reduceat(np.where(is_end, ordinal + 1, len(place) + 1), first)
        upto = np.minimum(upto, length)
        place = place[ordinal < np.repeat(upto, length)]
        first = np.cumsum(upto) - upto
        flags = self._steps.rows.flags[place[first + upto - 1]]
        cut = (flags & TRUNCATED) > 0
        return _Stretch(slots, place, first, upto, ((flags & DONE) > 0) & ~cut, cut)

    def _holes(self, stretch: _Stretch) -> Bool:
        """Rows whose next step is not there although the stretch goes on."""
        rows, last = self._steps.rows, np.zeros(len(stretch.place), np.bool_)
        last[stretch.last] = True
        stop = np.repeat(stretch.place[stretch.last] + 1, stretch.length)
        return ~last & ~adjacent(rows.step, rows.ts_ms, stretch.place, stop)

    def _settle(self, ended: _Stretch) -> EndedEpisodes:
        """Gives out episodes that ended and miss nothing."""
        if not len(ended.slots):
            return self._ended(ended, ended.done)
        whole = ~self._missing(ended) & ((self._slots.flags[ended.slots] & SETTLED) == 0)
        chosen = self._stretch(ended.slots[whole])
        self._slots.flags[chosen.slots] |= np.uint8(SETTLED)
        return self._ended(chosen, np.zeros(len(chosen.slots), np.bool_))

    def _missing(self, stretch: _Stretch) -> Bool:
        missing = np.isnan(self._steps.rows.reward[stretch.place]) | self._holes(stretch)
        return np.asarray(np.logical_or.reduceat(missing, stretch.first))

    def _ended(self, stretch: _Stretch, incomplete: Bool) -> EndedEpisodes:
        slots, table, rows = stretch.slots, self._slots, self._steps.rows
        named = table.named[slots]
        reward, cost = self._sums(stretch)
        begun_late = (table.skipped[slots] == 0) & (rows.step[stretch.place[stretch.first]] > 1)
        broken = incomplete | begun_late | ((table.flags[slots] & BROKEN) > 0)
        self._count("incomplete", int((broken & named).sum()))
        end = stretch.place[stretch.last]
        order = np.lexsort((table.code[slots], rows.bucket_start_ms[end], table.key[slots]))
        order = order[named[order]]
        return EndedEpisodes(
            key=table.key[slots][order],
            bucket_start_ms=rows.bucket_start_ms[end][order],
            steps=(table.skipped[slots] + stretch.length)[order],
            reward=reward[order],
            truncated=(~stretch.done | broken)[order],
            costs={name: cost[order, j] for j, name in enumerate(self._names)},
        )

    def _sums(self, stretch: _Stretch) -> tuple[F64, F64]:
        """(slots,) discounted rewards and (slots, costs) costs, what was retired before included."""
        slots, table, rows, gamma = stretch.slots, self._slots, self._steps.rows, self._plan.gamma
        if not len(slots):
            return np.empty(0), np.empty((0, len(self._names)))
        ordinal = np.arange(len(stretch.place)) - np.repeat(stretch.first, stretch.length)
        skipped = table.skipped[slots]
        part = np.add.reduceat(rows.reward[stretch.place] * gamma**ordinal, stretch.first)
        reward = np.where(skipped > 0, table.reward[slots] + gamma**skipped * part, part)
        cost = known_sum(rows.cost[stretch.place], rows.reward_cost[stretch.place])
        known = np.logical_or.reduceat(~np.isnan(cost), stretch.first, axis=0)
        weighted = np.nan_to_num(cost) * self._cost_gamma ** ordinal[:, None]
        paid = np.where(known, np.add.reduceat(weighted, stretch.first, axis=0), np.nan)
        return reward, known_sum(
            table.cost[slots], np.asarray(self._cost_gamma ** skipped[:, None] * paid, np.float64)
        )

    def _touch(self, now_ms: int, slots: I64) -> None:
        self._slots.touched_ms[slots] = now_ms
        if len(slots):
            self._queue.append((now_ms, slots))
            self._queued += len(slots)
        if self._queued > 4 * len(self._slots) + 4096:
            kept = ((ms, old[self._slots.touched_ms[old] == ms]) for ms, old in self._queue)
            self._queue = deque((ms, old) for ms, old in kept if len(old))
            self._queued = sum(len(old) for _, old in self._queue)

    def _idle(self, now_ms: int) -> I64:
        slots = [np.empty(0, np.int64)]
        while self._due(now_ms):
            slots.append(self._oldest())
        idle = np.unique(np.concatenate(slots))
        open_ = ((self._slots.flags[idle] & ENDED) == 0) & self._slots.named[idle]
        self._count("idle", int(open_.sum()))
        return idle

    def _due(self, now_ms: int) -> bool:
        return bool(self._queue) and self._queue[0][0] + self._plan.horizon_ms <= now_ms

    def _overflow(self) -> list[EndedEpisodes]:
        closed = []
        while len(self._steps) > self._plan.max_rows and self._queue:
            slots = self._oldest()
            self._count("overflow", len(slots))
            closed.append(self._close(slots))
        return closed

    def _oldest(self) -> I64:
        ms, slots = self._queue.popleft()
        self._queued -= len(slots)
        still = np.flatnonzero(self._slots.touched_ms[slots] == ms)
        return np.asarray(slots[still], np.int64)

    def _close(self, slots: I64) -> EndedEpisodes:
        """Forgets slots; those not given out yet are, as far as they are known."""
        open_ = self._stretch(slots[(self._slots.flags[slots] & SETTLED) == 0])
        ended = self._ended(open_, self._missing(open_) if len(open_.slots) else open_.done)
        self._index.remove(self._slots.code[slots])
        self._steps.clear(slots)
        self._slots.free(slots)
        return ended

    def _retire(self, now_ms: int, touched: I64) -> None:
        """Folds rows of endless episodes, whose target is n steps and a horizon behind, into their slot's sums."""
        enough = self._n + _RETIRED_AT_ONCE
        long = touched[self._steps.runs.length[touched] > enough]
        early = (
            self._steps.rows.ts_ms[self._steps.runs.start[long] + enough] + self._plan.horizon_ms <= now_ms
        )
        long = long[early & ((self._slots.flags[long] & ENDED) == 0)]
        if not self._n or not len(long):
            return
        stretch = self._stretch(long)
        old = self._steps.rows.ts_ms[stretch.place] + self._plan.horizon_ms <= now_ms
        count = np.minimum.reduceat(
            np.where(old, len(old), np.arange(len(old)) - np.repeat(stretch.first, stretch.length)),
            stretch.first,
        )
        count = np.minimum(count, stretch.length) - self._n
        chosen = count > 0
        if not chosen.any():
            return
        slots, count = long[chosen], count[chosen]
        place = ranges(self._steps.runs.start[slots], count)
        first = np.cumsum(count) - count
        head = _Stretch(
            slots, place, first, count, np.zeros(len(slots), np.bool_), np.zeros(len(slots), np.bool_)
        )
        table = self._slots
        late = (table.skipped[slots] == 0) & (self._steps.rows.step[place[first]] > 1)
        broken = late | self._missing(head)
        table.reward[slots], table.cost[slots] = self._sums(head)
        table.skipped[slots] += count
        table.flags[slots[broken]] |= np.uint8(BROKEN)
        self._steps.drop_head(slots, count)

    def _joined(self, parts: list[EndedEpisodes]) -> EndedEpisodes:
        key = np.concatenate([part.key for part in parts])
        start = np.concatenate([part.bucket_start_ms for part in parts])
        order = np.lexsort((start, key))
        return EndedEpisodes(
            key=key[order],
            bucket_start_ms=start[order],
            steps=np.concatenate([part.steps for part in parts])[order],
            reward=np.concatenate([part.reward for part in parts])[order],
            truncated=np.concatenate([part.truncated for part in parts])[order],
            costs={name: np.concatenate([part.costs[name] for part in parts])[order] for name in self._names},
        )

    def _cost_columns(self, costs: dict[str, F64], n: int) -> F64:
        missing = np.full(n, np.nan)
        columns = [costs.get(name, missing) for name in self._names]
        return np.stack(columns, axis=1) if columns else np.empty((n, 0))

    def _count(self, name: str, n: int) -> None:
        self._counts[COUNTERS.index(name)] += n


_NEVER = np.empty(0, np.bool_)
_NO_TARGETS = Targets(
    np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.int32),
    np.empty(0, np.uint64), np.empty(0, np.uint64),
)  # fmt: skip


def _codes(key: I32, episode: U64, decision: U64) -> U64:
    """(n,) one code per (key, episode); a decision without an episode is one of its own."""
    alone = episode == 0
    salt = key.astype(np.uint64) + (alone.astype(np.uint64) << np.uint64(40))
    return mixed(np.where(alone, decision, episode) ^ mixed(salt))
