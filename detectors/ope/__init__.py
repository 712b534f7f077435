"""Off-policy evaluation: what a candidate would have earned and cost, and whether to believe it.

`evaluate(log, options)` answers for columns in memory, `streaming.start(options)` for a stream.
"""

from detectors.ope.columns import BanditLog, TrajectoryLog
from detectors.ope.evaluate import evaluate
from detectors.ope.evaluation import CostEstimate, Evaluation
from detectors.ope.intervals.interval import Withheld
from detectors.ope.options import CostBudget, Options
from detectors.ope.record import CoverageRecord, Outcome
from detectors.ope.streaming import StreamingEvaluation
from detectors.ope.verdict import Comparison, Estimate, Verdict

__all__ = [
    "BanditLog",
    "Comparison",
    "CostBudget",
    "CostEstimate",
    "CoverageRecord",
    "Estimate",
    "Evaluation",
    "Options",
    "Outcome",
    "StreamingEvaluation",
    "TrajectoryLog",
    "Verdict",
    "Withheld",
    "evaluate",
]
