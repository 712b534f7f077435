"""What a rule sees of its measurements: paid, breach, near, clear or unknown, and the one that says it best."""

from math import nan

import pytest

from alerts.findings import CLEAR_SEVERITY, Finding, Streaks, findings, grow_streaks
from alerts.life import Sight
from alerts.rules import RuleSettings
from detectors.measurement import Measurement, Verdict

OK, BREACH, UNKNOWN, ERROR = Verdict.OK, Verdict.BREACH, Verdict.UNKNOWN, Verdict.ERROR


def cost(
    subject: str, verdict: Verdict, severity: float = nan, line: float = 1.0, hold: int = 0
) -> Measurement:
    return Measurement(
        "costs", "per_decision", subject, 0.5, 10, verdict, line, severity=severity, hold_buckets=hold
    )


def seen(*measurements: Measurement, streaks: Streaks | None = None, **settings: RuleSettings) -> Finding:
    grown = grow_streaks(streaks or {}, measurements)
    (finding,) = findings(["constraint"], measurements, grown, settings, 10_000)
    return finding


@pytest.mark.parametrize(
    ("measurements", "sight"),
    [
        ([], Sight.UNKNOWN),
        ([cost("a", OK, 0.2)], Sight.CLEAR),
        ([cost("a", OK, CLEAR_SEVERITY)], Sight.NEAR),
        ([cost("a", OK, 0.2), cost("b", OK, 0.99)], Sight.NEAR),
        ([cost("a", OK, nan)], Sight.CLEAR),
        ([cost("a", UNKNOWN)], Sight.UNKNOWN),
        ([cost("a", OK, 0.2), cost("b", UNKNOWN)], Sight.UNKNOWN),
        ([cost("a", OK, 0.2), cost("b", UNKNOWN, line=nan)], Sight.UNKNOWN),
        ([cost("a", OK, 0.2), cost("b", ERROR, line=nan)], Sight.UNKNOWN),
        ([cost("a", UNKNOWN), cost("b", BREACH, 1.5)], Sight.PAID),
        ([cost("a", BREACH, 1.5, hold=2)], Sight.BREACH),
        ([cost("a", BREACH, 1.5, hold=2), cost("b", BREACH, 1.1)], Sight.PAID),
        ([cost("a", BREACH, 1.5, line=nan)], Sight.PAID),
        ([cost("a", OK, 9.0, line=nan)], Sight.UNKNOWN),
    ],
)
def test_a_rule_sees(measurements: list[Measurement], sight: Sight) -> None:
    assert seen(*measurements).sight is sight


def test_the_worst_of_the_paid_breaches_speaks_before_a_worse_one_that_is_not_paid() -> None:
    finding = seen(cost("deep", BREACH, 9.0, hold=5), cost("paid", BREACH, 1.1))
    assert finding.worst is not None
    assert finding.worst.subject == "paid"
    assert [m.subject for m in finding.breaches] == ["deep", "paid"]


def test_a_measurement_of_another_rule_is_not_listened_to() -> None:
    reward = Measurement("reward", "mean", "", 0.1, 10, BREACH, 1.0, severity=2.0)
    assert seen(reward, cost("a", OK, 0.1)).sight is Sight.CLEAR


def test_late_rewards_speak_for_data_quality_not_for_the_reward_rule() -> None:
    late = Measurement("reward", "arrived_share", "", 0.1, 10, BREACH, 0.9)
    found = {
        f.rule: f.sight for f in findings(["reward", "quality"], [late], grow_streaks({}, [late]), {}, 1)
    }
    assert found == {"reward": Sight.UNKNOWN, "quality": Sight.PAID}


def test_rules_are_seen_in_the_order_asked_for() -> None:
    assert [f.rule for f in findings(["state", "reward"], [], {}, {}, 1)] == ["state", "reward"]


def test_a_streak_is_of_one_subject() -> None:
    streaks: Streaks = {}
    for subject in ("a", "b", "a"):
        others = {"a", "b"} - {subject}
        streaks = grow_streaks(streaks, [cost(subject, BREACH), *(cost(o, OK) for o in others)])
    assert list(streaks.values()) == [1]


@pytest.mark.parametrize(("between", "length"), [(UNKNOWN, 2), (ERROR, 2), (OK, 1)])
def test_a_streak_is_broken_by_ok_alone(between: Verdict, length: int) -> None:
    streaks: Streaks = {}
    for verdict in (BREACH, between, BREACH):
        streaks = grow_streaks(streaks, [cost("a", verdict)])
    assert streaks == {("costs", "per_decision", "a"): length}


def test_streaks_of_what_is_measured_no_more_are_forgotten() -> None:
    assert grow_streaks({("costs", "per_decision", "gone"): 7}, [cost("a", OK)]) == {}
