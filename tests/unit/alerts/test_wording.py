"""The one sentence that a person reads: what happened, with the numbers, and what was done."""

from math import nan

import pytest

from alerts import wording
from alerts.findings import Finding
from alerts.life import Sight
from alerts.rules import Kind
from detectors.measurement import Measurement, Verdict

WORST = Measurement("costs", "per_decision", "complaint", 0.0213, 5_000, Verdict.BREACH, 0.01, error=0.0021)


def finding(worst: Measurement | None = WORST, breaches: int = 1) -> Finding:
    return Finding("constraint", Sight.PAID, worst, (WORST,) * breaches)


def test_a_firing_sentence_has_the_numbers_and_what_was_done() -> None:
    assert wording.fired(finding(), "v42", "full", Kind.FALLBACK, "rules-v3", False) == (
        "v42 (full): costs per_decision of complaint is 0.0213 ± 0.0021 against a line at 0.01 (n = 5000); "
        "serving was told to fall back to rules-v3."
    )


def test_a_reason_of_the_detector_is_used_as_it_is() -> None:
    worst = Measurement("reward", "mean", "", 0.4, 9, Verdict.BREACH, reason="mean reward 0.4, line 0.5.")
    said = wording.fired(finding(worst), "v42", "full", Kind.PAGE, "", False)
    assert said == (
        "v42 (full): mean reward 0.4, line 0.5; nothing was changed in serving; a person should look."
    )


def test_the_other_breaches_are_counted() -> None:
    assert " and 2 more in breach; " in wording.fired(finding(breaches=3), "v", "full", Kind.HOLD, "", False)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_says_what_was_done_and_a_dry_run_that_it_was_not(kind: Kind) -> None:
    assert wording.done(kind, "v1", False)
    assert "dry run" in wording.done(kind, "v1", True)
    assert "{" not in wording.done(kind, "", False)


def test_a_resolved_sentence_says_how_long_it_has_stayed_clear() -> None:
    assert wording.resolved(finding(), "v42", "canary", "20 min") == (
        "v42 (canary): constraint is back on the right side, 0.0213 ± 0.0021 against a line at 0.01, "
        "and has stayed clear for 20 min."
    )


def test_numbers_that_do_not_exist_are_left_out() -> None:
    bare = Measurement("costs", "per_decision", "", 0.02, 5, Verdict.BREACH, nan, error=nan)
    said = wording.fired(finding(bare), "v", "full", Kind.PAGE, "", False)
    assert "nan" not in said
    assert "no line" in said


def test_a_forbidden_action_is_named() -> None:
    said = wording.violated("v42", "full", "masked in this state", "7", Kind.FALLBACK, "rules-v3", False)
    assert said == (
        "v42 (full): executed action 7, which was masked in this state, without approval; "
        "serving was told to fall back to rules-v3."
    )
