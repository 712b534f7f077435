"""One watched deployment: its joins, its windows and its judge, sealed bucket by bucket."""

from dataclasses import dataclass, field

from alerts.judge import Judge
from detectors.measurement import Measurement
from monitor.config import DeploymentConfig
from monitor.joining import STAGES, Joining
from monitor.sealed import Sealed
from monitor.vocabulary import Vocabulary
from monitor.windows import Windows

RETIRED_AFTER_WINDOWS = 144  # a policy without a decision for so many windows (a day of 10 min) is forgotten


@dataclass(slots=True)
class Watched:
    """The state of one deployment; `seal` is called at the end of each of its buckets."""

    config: DeploymentConfig
    code: int
    vocabulary: Vocabulary
    joining: Joining
    windows: Windows
    judge: Judge
    sealed_buckets: int = 0
    verdicts: dict[tuple[str, str], list[Measurement]] = field(default_factory=dict)

    def seal(self, end_ms: int) -> Sealed:
        """Count the bucket that ends now, measure every key's window and judge what was measured."""
        groups = self.joining.take()
        self.windows.add(groups)
        measured = {self._name(key): self._measure(key, end_ms) for key in self.windows.keys_in_window(end_ms)}
        measured = {name: measured[name] for name in sorted(measured)}
        signals = self.judge.at_seal(end_ms, measured)
        self.windows.prune(end_ms)
        self._retire(end_ms)
        self.sealed_buckets += 1
        self.verdicts = measured
        return Sealed(
            deployment=self.config.name,
            end_ms=end_ms,
            window_ms=self.config.window_ms,
            baseline=self.judge.mandate.baseline or "",
            measured=measured,
            signals=signals,
            decisions=sum(len(group.rows.decisions) for group in groups),
        )

    def _measure(self, key: int, end_ms: int) -> list[Measurement]:
        labels = self.vocabulary.action_labels(self.code).names
        return self.windows.measure(key, end_ms, labels)

    def _name(self, key: int) -> tuple[str, str]:
        return self.vocabulary.policies.names[key // STAGES], self.vocabulary.stages.names[key % STAGES]

    def _retire(self, end_ms: int) -> None:
        for key in self.windows.retired(end_ms, RETIRED_AFTER_WINDOWS * self.config.window_ms):
            self.windows.forget(key)
            self.judge.forget(self._name(key))
