"""The words of a page, for somebody who was asleep: what happened, how sure, what was done, what to do."""

import re

from alerts.signal import Evidence, Signal, rfc3339

RUNBOOK = "deploy/runbook.md"
SHOWN_CULPRITS = 5

_TITLES = {
    "fallback": "{deployment}: fallback from {policy}",
    "rollback": "{deployment}: rollback of {policy}",
    "hold": "{deployment}: hold the rollout of {policy}",
    "promote": "{deployment}: {policy} may be promoted",
    "retrain": "{deployment}: {policy} needs retraining",
    "page": "{deployment}: look at {policy}",
}
_DONE = {
    "fallback": "{deployment} was told to serve {target} instead of {policy} (generation {generation}).",
    "rollback": "{deployment} was told to return to {target} (generation {generation}).",
    "hold": "{deployment} was told not to widen the rollout of {policy}. It goes on serving.",
    "promote": "{deployment} was told that {policy} may take more traffic.",
    "retrain": "{deployment} was told that {policy} needs retraining. It goes on serving.",
    "page": "Nothing was switched. {policy} goes on serving.",
}


def title(signal: Signal) -> str:
    """One line that says how bad, where and why: `FIRING home-ranker: fallback from v42 (reward)`."""
    what = _TITLES[signal.kind].format(deployment=signal.deployment, policy=signal.policy or "the deployment")
    cause = f"{signal.rule}, {signal.subject}" if signal.subject else signal.rule
    mark = "[dry run] " if signal.dry_run else ""
    return f"{mark}{signal.state.upper()} {what} ({cause})"


def sections(signal: Signal, runbook: str = RUNBOOK) -> tuple[tuple[str, str], ...]:
    """The page in four answers."""
    return (
        ("What happened", signal.reason),
        ("How sure", sureness(signal.evidence)),
        ("What was done", done(signal)),
        (
            "What to do",
            f"{'Nothing now. Read' if signal.state == 'resolved' else 'Follow'} {link(signal, runbook)}",
        ),
    )


def sureness(evidence: Evidence) -> str:
    """The numbers: value against threshold, how many, from when to when, and who contributes most."""
    if evidence.value is None:
        text = f"{evidence.statistic} cannot be computed"
    else:
        text = f"{evidence.statistic} = {evidence.value:.4g}"
    if evidence.threshold is not None:
        text += f" against a threshold of {evidence.threshold:.4g}"
    text += f", from {evidence.n:,} samples"
    if evidence.window_start_ms is not None and evidence.window_end_ms is not None:
        text += f" between {_short(evidence.window_start_ms)} and {_short(evidence.window_end_ms)} UTC"
    if evidence.culprits:
        more = len(evidence.culprits) - SHOWN_CULPRITS
        text += ". Contributing most: " + ", ".join(evidence.culprits[:SHOWN_CULPRITS])
        text += f" and {more} more" if more > 0 else ""
    return text + "."


def done(signal: Signal) -> str:
    """What this daemon did about it, and what it did not."""
    if signal.dry_run:
        return "Nothing: this rule is in dry run."
    if signal.state == "resolved":
        if signal.kind in ("fallback", "rollback"):
            return (
                "The condition is over. Nothing is switched back by that alone:"
                f" whether {signal.policy} serves again is decided by you, or by your config."
            )
        return "The condition is over."
    return _DONE[signal.kind].format(
        deployment=signal.deployment,
        policy=signal.policy or "the deployment",
        target=signal.to_policy
        or ("the fallback policy" if signal.kind == "fallback" else "the previous policy"),
        generation=signal.generation,
    )


def link(signal: Signal, runbook: str = RUNBOOK) -> str:
    """The runbook's entry for this rule."""
    return f"{runbook}#{re.sub(r'[^a-z0-9]+', '-', signal.rule.lower()).strip('-')}"


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters, with a mark where some are missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _short(time_ms: int) -> str:
    return rfc3339(time_ms)[:19].replace("T", " ")
