"""An evaluation kept current while decisions arrive."""

from dataclasses import dataclass, replace

from detectors.ope import evidence as sums
from detectors.ope.bandit.evaluate import evaluate_evidence as evaluate_decisions
from detectors.ope.bandit.observe import observe as observe_decisions
from detectors.ope.columns import BanditLog, TrajectoryLog, check_shapes
from detectors.ope.evaluation import Evaluation
from detectors.ope.evidence import Evidence
from detectors.ope.options import Options
from detectors.ope.sequential import observe as sequential
from detectors.ope.sequential.evaluate import evaluate_evidence as evaluate_episodes
from detectors.ope.sequential.observe import TrajectoryEvidence


@dataclass(frozen=True, slots=True)
class StreamingEvaluation:
    """Mergeable evidence about one candidate; a value: `observe` and `+` give a new one.

    Logs are observed in their order; any split gives the estimates of the whole to 1e-9, and two parts of
    a log, or two shards of traffic, may be added. Memory is bounded. Finite-sample bounds and the
    confidence sequence need options.reward_range, which a stream cannot look up at its end; models are
    not fitted, tails not kept, and propensities not estimated: these need the rows (see evaluate).
    options.logger_shares must be given where the log has logger_propensities.
    """

    options: Options
    bandit: Evidence
    episodes: TrajectoryEvidence
    gamma: float | None = None

    def observe(self, log: BanditLog | TrajectoryLog) -> "StreamingEvaluation":
        """After more decisions, or more whole episodes. A stream is of one kind; ValueError otherwise."""
        check_shapes(log)
        if isinstance(log, BanditLog):
            self._one_kind(self.gamma is None)
            return replace(self, bandit=observe_decisions(self.bandit, log, self.options))
        self._one_kind(self.bandit.seen == 0 and self.gamma in (None, log.gamma))
        return replace(self, episodes=sequential.observe(self.episodes, log, self.options), gamma=log.gamma)

    def __add__(self, other: "StreamingEvaluation") -> "StreamingEvaluation":
        gamma = self.gamma if self.gamma is not None else other.gamma
        self._one_kind(other.gamma in (None, gamma))
        return StreamingEvaluation(
            self.options, self.bandit + other.bandit, self.episodes + other.episodes, gamma
        )

    def evaluation(self) -> Evaluation:
        """The evaluation of all that was observed, tail and fitted models excepted."""
        if self.gamma is None:
            return evaluate_decisions(self.bandit, self.options)
        return evaluate_episodes(self.episodes, self.gamma, self.options)

    @staticmethod
    def _one_kind(same: bool) -> None:
        if not same:
            raise ValueError("one stream holds decisions, or episodes of one gamma, not both")


def start(options: Options) -> StreamingEvaluation:
    """Nothing observed yet."""
    return StreamingEvaluation(options, sums.start(options), sequential.start(options))
