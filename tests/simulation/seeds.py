"""A seed is a scene, a log, a schedule of faults and all the chances of a run; one that failed is kept as a file."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from tests.simulation import checker
from tests.simulation.faults import Fault, schedule
from tests.simulation.history import History, Run
from tests.simulation.logs import SCENES, logs_of

REGRESSIONS = Path(__file__).parent / "regressions"
LOGS = 3  # logs per scene: each costs an undisturbed run
TAIL_MS = 2_500  # faults may begin while the last buckets are being sealed


@dataclass(frozen=True)
class Case:
    """Everything that decides a run."""

    seed: int
    scene: str
    log: int
    faults: tuple[Fault, ...]

    @classmethod
    def of(cls, seed: int, candidates: bool = False) -> "Case":
        """The case of a seed, in the scenes with candidates or in those without."""
        names = sorted(name for name, scene in SCENES.items() if scene.candidates is candidates)
        scene = names[seed % len(names)]
        length_ms = 1_000 * SCENES[scene].seconds + TAIL_MS
        return cls(seed, scene, seed // len(names) % LOGS, tuple(schedule(seed, length_ms)))

    @classmethod
    def load(cls, path: Path) -> "Case":
        """A case that failed once."""
        kept = json.loads(path.read_text())
        return cls(
            kept["seed"], kept["scene"], kept["log"], tuple(Fault(**fault) for fault in kept["faults"])
        )

    def keep(self, folder: Path = REGRESSIONS) -> Path:
        """Write it down, so that it is tried again with every test run."""
        path = folder / f"seed-{self.seed}.json"
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return path


@dataclass(frozen=True)
class Finding:
    """What a case broke, and how it went."""

    case: Case
    faults: Sequence[str]
    notes: Sequence[str]

    def __str__(self) -> str:
        lines = [f"seed {self.case.seed} ({self.case.scene}, log {self.case.log})", *self.notes, *self.faults]
        return "\n  ".join(lines)


def tried(case: Case, folder: Path) -> Finding | None:
    """Play a case; None when every promise was kept."""
    run = Run(folder / "run", case.scene, case.log, case.seed, case.faults)
    try:
        broken = checker.faults(run.play(), undisturbed(case.scene, case.log))
    except AssertionError as error:
        broken = [f"assertion: {error}"]
    finally:
        run.disk.forget()
    return Finding(case, broken, run.world.history) if broken else None


@cache
def undisturbed(scene: str, log: int) -> History:
    """The same log with nothing going wrong; played once per process."""
    with tempfile.TemporaryDirectory(prefix="undisturbed-", dir=fast_folder()) as folder:
        history = Run(Path(folder) / "run", scene, log, 0, ()).play()
        assert history.state_at_the_end
        assert history.said.signals, f"{scene} {log} says nothing"
        wrong = checker.miscounted(history, logs_of(scene, log))
        assert not wrong, f"{scene} {log}: {wrong}"
    return history


def fast_folder() -> Path:
    """Memory, where there is a file system of it: what is synced is the simulation's business."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else Path(tempfile.gettempdir())
