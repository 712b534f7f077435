"""The marks of a recording as the steps of a story, with the delays between them."""

from dataclasses import dataclass

from monitor.demo.policies import LEARNED, SAFE
from monitor.demo.recording import MARKS, Recording

_WORDS = {
    "serving": f"{LEARNED} serves",
    "change": "the readers' tastes turn round",
    "detected": "detected: the daemon's alert fired",
    "delivered": "signal delivered: webhook verified by the serving layer",
    "fallback": f"fallback served: {SAFE}",
    "recovered": "recovered: the reward is back, as far as the fallback can bring it",
}


@dataclass(frozen=True, slots=True)
class Step:
    """after_ms: since the change; since_ms: since the step before; None where that means nothing."""

    name: str
    words: str
    at_ms: int
    after_ms: int | None
    since_ms: int | None


def timeline(recording: Recording) -> list[Step]:
    """The steps that were reached, in the order of the story."""
    change = recording.marks.get("change")
    steps: list[Step] = []
    for name in MARKS:
        if name not in recording.marks:
            continue
        at_ms = recording.marks[name]
        late = change is not None and at_ms > change
        after_ms = at_ms - change if late and change is not None else None
        steps.append(Step(name, _WORDS[name], at_ms, after_ms, at_ms - steps[-1].at_ms if late else None))
    return steps


def after_text(ms: int) -> str:
    """`17 ms`, `4.4 s`."""
    return f"{ms} ms" if abs(ms) < 1000 else f"{ms / 1000:.1f} s"
