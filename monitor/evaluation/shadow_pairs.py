"""What is said of how far a shadow's decisions could be paired with those that were served."""

from detectors.candidates.sums import NAME
from detectors.candidates.words import TRUSTS
from detectors.measurement import Measurement, unknown
from detectors.ope.verdict import Finding, Verdict
from detectors.windows.mean_shift import described
from monitor.joins.shadows import Pairs

MOST_ALONE = 0.05  # of a shadow's decisions may lack what they speak of
SUBJECT = "shadow decisions"


def doubts(pairs: Pairs | None) -> list[Finding]:
    """Whether what was paired stands for all that the shadow decided."""
    if pairs is None or pairs.paired >= pairs.total * (1 - MOST_ALONE):
        return []
    verdict = Verdict.UNRELIABLE if pairs.paired else Verdict.NOT_IDENTIFIED
    return [Finding(verdict, _why(pairs))]


def unpaired(pairs: Pairs, has_life: bool) -> list[Measurement]:
    """The share that was paired; and, where nothing can be estimated from it, that it cannot."""
    if not pairs.total:
        return []
    why = _why(pairs)
    said = [described(NAME, "paired", pairs.paired / pairs.total, pairs.total, why, SUBJECT)]
    if has_life or (pairs.paired and pairs.paired >= pairs.total * (1 - MOST_ALONE)):
        return said
    verdict = Verdict.NOT_IDENTIFIED
    words = f"{verdict}: {why}"
    return [
        *said,
        unknown(NAME, "difference", pairs.total, words, SUBJECT),
        described(NAME, "trust", TRUSTS[verdict], pairs.total, words, SUBJECT),
    ]


def _why(pairs: Pairs) -> str:
    """`of 100 shadow decisions 90 were paired`, and why the others were not."""
    words = f"{pairs.paired} of {pairs.total} shadow decisions were paired with what was served"
    if pairs.nameless:
        words += f"; {pairs.nameless} name no episode and step, nor a unit"
    if pairs.continuous:
        words += f"; {pairs.continuous} are continuous actions, which no other policy takes exactly"
    if pairs.alone:
        words += (
            f"; for {pairs.alone} no single served decision shares them (episode and step, or unit and ts)"
        )
    return words
