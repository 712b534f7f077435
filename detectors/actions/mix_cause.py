"""Why the action mix moved: because the policy did, or perhaps because the states did.

A policy that stays as it is passes on at most the divergence of its states (data processing inequality; Cover & Thomas,
"Elements of Information Theory", 2006, theorem 2.8.1). So a mix that has moved while the states have not moved
by as much is the policy's doing. Where the states moved too, the counts alone cannot tell: then what the policy takes
is set against what its baseline's answers to such states foretell (`action_answers`).
"""

from collections.abc import Sequence
from dataclasses import replace

from detectors.measurement import Measurement, Verdict

MIX = frozenset({("action_mix", "mix_kl"), ("action_mix", "entropy"), ("sequential", "action_shift")})
ANSWERS = "action_answers"
STATES = frozenset(
    {("state_kl", "kl_max"), ("state_kl", "kl_sum"), ("state_mmd", "mmd2"), ("sequential", "state_shift")}
)


def explained(measured: Sequence[Measurement]) -> list[Measurement]:
    """The same measurements; the reasons of those that say that the mix moved say why, as far as it can be known."""
    if not any(_moved(m) for m in measured):
        return list(measured)
    states = [m for m in measured if (m.detector, m.statistic) in STATES or m.detector == ANSWERS]
    return [replace(m, reason=f"{m.reason}; {_why(m, states)}") if _moved(m) else m for m in measured]


def _moved(m: Measurement) -> bool:
    return m.verdict is Verdict.BREACH and (m.detector, m.statistic) in MIX


def _why(mix: Measurement, known: Sequence[Measurement]) -> str:
    answers = next((m for m in known if m.detector == ANSWERS), None)
    states = [m for m in known if m.detector != ANSWERS]
    if moved := [m for m in states if m.verdict is Verdict.BREACH]:
        names = list(dict.fromkeys(c.name for m in moved for c in m.culprits))[:3]
        named = f" ({', '.join(names)})" if names else ""
        if answers is not None and answers.verdict is Verdict.BREACH:
            return f"{answers.reason}; the states moved too{named}"
        if answers is not None and answers.verdict is Verdict.OK:
            return f"the states moved{named}; {answers.reason}"
        return f"the states moved too{named}: cannot tell whether the policy did"
    if not any(m.verdict is Verdict.OK for m in states):
        return "the states are not known: cannot tell whether they moved or the policy did"
    total = next((m for m in states if m.statistic == "kl_sum" and m.verdict is Verdict.OK), None)
    if mix.statistic == "mix_kl" and total is not None and mix.value > total.threshold:
        return f"the states moved by less than {total.threshold:.3g} nats, the mix by more: the policy did"
    return "the states did not move measurably: most likely the policy did"
