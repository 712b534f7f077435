"""Off-policy evaluation from Python, for a candidate that is a function or a file: what `policywatch evaluate` does."""

from collections.abc import Sequence
from pathlib import Path

from detectors.ope import Options
from monitor.config_file import load_config
from monitor.evaluation.candidate_views import Function, Policy, ViewError, read_probabilities
from monitor.evaluation.evaluating import Found, NoCandidate, evaluate_log
from monitor.source import Files

__all__ = ["Found", "NoCandidate", "Policy", "ViewError", "evaluate_candidate"]


def evaluate_candidate(
    config: Path | str,
    events: Sequence[Path | str],
    candidate: Policy | Path | str,
    name: str = "candidate",
    deployment: str = "",
    margin: float = 0.0,
    cvar_floor: float | None = None,
) -> Found:
    """What the candidate would have earned and cost on the logged decisions, and whether that is to be believed.

    candidate: a function from states (n, d) and the names of the actions (in the order of its columns) to
    probabilities (n, actions), for which a reward model is fitted out of fold; or the path of a file of JSON lines
    {"decision_id", "p"[, "q", "v"]}. name: how it is called, and under which policy it is looked for where it ran.
    deployment: where the config has several. margin: by how much it must beat the incumbent (below 0: may fall short).
    cvar_floor: refused where the mean of the worst tenth of its rewards may lie below this.

    Raises ViewError where the candidate gives no probabilities, NoCandidate where it knows no decision of the events,
    ConfigError where the config cannot be used.
    """
    loaded = load_config(Path(config))
    chosen = deployment or next(iter(loaded.deployments))
    view = Function(candidate) if callable(candidate) else read_probabilities(Path(candidate))
    log = Files([str(path) for path in events], loaded.source.max_record_bytes)
    return evaluate_log(loaded, chosen, name, log, view, Options(margin=margin, cvar_floor=cvar_floor))
