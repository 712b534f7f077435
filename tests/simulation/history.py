"""A whole run: a log, a schedule of faults, and the daemon that lives and dies through it."""

import random
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from monitor.persistence.checkpoint import FILE_NAME
from tests.integration.running import SECRET
from tests.integration.traffic import START_MS
from tests.simulation.broker import Broker
from tests.simulation.digest import State, state_in
from tests.simulation.disk import FaultyDisk
from tests.simulation.faults import Fault
from tests.simulation.logs import config_text, logs_of, scene_of
from tests.simulation.process import Process, Said
from tests.simulation.receivers import Site
from tests.simulation.world import World

URLS = ("http://127.0.0.1:1/a", "http://127.0.0.1:1/b")
LONGEST_MS = 3_600_000  # a run that has not ended by then never will
MOST_TURNS = 20_000


@dataclass
class History:
    """What a run left: everything that was said and heard, and the folder of its state."""

    said: Said
    sites: Sequence[Site]
    state: Path
    notes: list[str]
    deaths: list[str]

    @cached_property
    def state_at_the_end(self) -> State:
        """What was saved last."""
        return state_in(self.state)


class Run:
    """Plays a scene; faults begin and end at their times, and the dead are started again."""

    def __init__(self, folder: Path, scene: str, log_seed: int, seed: int, faults: Sequence[Fault]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "secret").write_text(SECRET)
        self.config_path = folder / "policywatch.toml"
        self.config_path.write_text(config_text(scene_of(scene), folder, URLS))
        self.rng = random.Random(seed)
        self.world = World(self.rng)
        self.broker = Broker(self.world, logs_of(scene, log_seed))
        self.disk = FaultyDisk(folder / "disk", on_write=self._disk_moment)
        self.sites = [Site(name, self.world, self.rng) for name in ("a", "b")]
        self.said = Said()
        self.waiting = sorted(faults, key=lambda fault: fault.at_ms)
        self.going: list[Fault] = []
        self.deaths: list[str] = []
        self.lossy = False  # the next death is a power cut, not a kill
        self.damage = False  # the next death leaves the newest generation damaged
        self.zombies: list[Process] = []  # paused so long that another daemon has taken their place
        self.process = self._born()

    def play(self) -> History:
        """Until the log is read, every fault is over and both receivers have everything."""
        for _ in range(MOST_TURNS):
            self._faults()
            self.process.turn()
            self._zombies()
            if self.process.died:
                self._die()
            elif (
                self.process.finished
                and not (self.waiting or self.going or self.zombies)
                and self._delivered()
            ):
                return self._end()
            assert self.world.ms < START_MS + LONGEST_MS, "the run does not end"
        raise AssertionError("the run does not end")

    def _zombies(self) -> None:
        """They wake now and then; whoever writes second is refused, and leaves."""
        for zombie in self.zombies:
            if self.rng.random() < 0.3 and not (self.process.died or self.world.dead):
                zombie.turn()
            if zombie.died:
                self.world.note(f"zombie died: {zombie.died}")
                zombie.bury()
        self.zombies = [zombie for zombie in self.zombies if not zombie.died]

    def _end(self) -> History:
        self.process.stop()
        self.disk.forget()
        return History(self.said, self.sites, self.disk.folder, self.world.history, self.deaths)

    def _delivered(self) -> bool:
        return all(self.process.deliveries.is_empty(name) for name in ("webhook-1", "webhook-2"))

    def _born(self) -> Process:
        return Process(self.config_path, self.world, self.broker, self.sites, self.said)

    def _disk_moment(self) -> None:
        """The power may fail in the middle of a transaction; C code cannot raise, so the disk goes first."""
        if self.world.cut_in is not None:
            self.world.cut_in -= 1
            if self.world.cut_in <= 0:
                self.world.cut_in, self.world.dead, self.disk.dead = None, True, True

    def _die(self) -> None:
        self.deaths.append(self.process.died)
        self.world.note(f"died: {self.process.died}")
        self.disk.dead = True
        for process in (self.process, *self.zombies):
            process.bury()
        self.zombies.clear()
        power = self.lossy and self.world.dead
        full, failing = self.disk.full, self.disk.failing_sync
        self.disk.boot(self.rng if power else None)
        self.disk.full, self.disk.failing_sync = full, failing
        self.world.dead, self.world.cut_in, self.lossy = False, None, False
        self.world.ms += self.rng.choice((50, 1_000, 5_000))
        if power:
            self.world.start_again()
        if self.damage:
            self._spoil()
        self.process = self._born()

    def _spoil(self) -> None:
        """A bit of the newest generation flips, where there is one before it."""
        self.damage = False
        path = self.disk.folder / FILE_NAME
        unmade = suppress(sqlite3.OperationalError)  # died before it made its tables
        with unmade, closing(sqlite3.connect(path, isolation_level=None)) as conn:
            generations = [row[0] for row in conn.execute("SELECT generation FROM generations ORDER BY 1")]
            if len(generations) > 1:
                conn.execute("UPDATE parts SET data = substr(data, 2) WHERE generation = ?", generations[-1:])

    def _faults(self) -> None:
        now_ms = self.world.ms - START_MS
        while self.waiting and self.waiting[0].at_ms <= now_ms:
            fault = self.waiting.pop(0)
            self.world.note(f"{fault}")
            self._begin(fault)
            if fault.for_ms:
                self.going.append(replace(fault, at_ms=self.world.ms + fault.for_ms))
        for fault in [fault for fault in self.going if fault.at_ms <= self.world.ms]:
            self.going.remove(fault)
            self.world.note(f"over: {fault.what}")
            self._over(fault)
        if self.process.finished:
            self._skip()

    def _skip(self) -> None:
        """Nothing happens until a fault begins or ends, or a receiver is tried again."""
        coming_ms = [fault.at_ms for fault in self.going] + [f.at_ms + START_MS for f in self.waiting[:1]]
        coming_ms += self.process.deliveries.due_ms()
        self.world.ms = max(self.world.ms, min(coming_ms, default=0.0))

    def _begin(self, fault: Fault) -> None:
        match fault.what:
            case "kill" | "power":
                self.world.cut_in, self.lossy = fault.number, fault.what == "power"
            case "damage":
                self.world.cut_in, self.damage = fault.number, True
            case "zombie" if self.process.service is not None:
                self.zombies.append(self.process)
                self.process = self._born()
            case "pause":
                self.world.ms += fault.number
            case "clock":
                self.world.skew_ms += fault.number
            case "away":
                self.broker.away = True
            case "rebalance":
                self.broker.lent = set(self.broker.logs)
            case "full":
                self.disk.full = True
            case "fsync":
                self.disk.failing_sync = True
            case trouble:
                self.sites[fault.number].trouble = trouble

    def _over(self, fault: Fault) -> None:
        match fault.what:
            case "clock":
                self.world.skew_ms -= fault.number
            case "away":
                self.broker.away = False
            case "rebalance":
                self.broker.lent = set()
            case "full":
                self.disk.full = False
            case "fsync":
                self.disk.failing_sync = False
            case _:
                self.sites[fault.number].trouble = "none"
                if fault.what == "410":  # a person has looked at it: a restart asks again
                    self.process.died = self.process.died or "restarted by a person"
