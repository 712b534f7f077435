"""Masked and un-enveloped actions, counted."""

from detectors.actions.violations import VIOLATIONS
from detectors.measurement import Verdict
from tests.unit.detectors.streams import PLAN, by_name, decisions, rows, window_of


def test_rates_per_kind_with_the_actions_that_broke_them() -> None:
    detector = VIOLATIONS.build(None, PLAN)
    table = decisions(8, action=[0, 1, 2, 2, 2, 3, 3, 0], violation=[0, 1, 1, 1, 0, 2, 0, 0])
    seen = detector.observe(rows(decisions=table))
    found = by_name(detector.measure(window_of([seen], labels=("stay", "left", "right", "up"))))
    assert found["masked"].value == 3 / 8
    assert [(c.name, c.share) for c in found["masked"].culprits] == [("right", 2 / 3), ("left", 1 / 3)]
    assert found["outside_envelope"].value == 1 / 8
    assert found["outside_envelope"].verdict == Verdict.OK


def test_buckets_with_different_actions_add_up() -> None:
    detector = VIOLATIONS.build(None, PLAN)
    first = detector.observe(rows(decisions=decisions(2, action=[0, 0], violation=[0, 1])))
    second = detector.observe(rows(decisions=decisions(3, action=[4, -1, 4], violation=[1, 2, 0])))
    found = by_name(detector.measure(window_of([first, second], labels=("a", "b"))))
    assert found["masked"].value == 2 / 5
    assert {c.name for c in found["masked"].culprits} == {"a", "4"}
    assert found["outside_envelope"].value == 1 / 5
