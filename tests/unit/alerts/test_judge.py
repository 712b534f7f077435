"""One deployment's judge at its seals: what is asked for, by which id and generation, and how it ends."""

import msgspec
import pytest

from alerts.life import AlertState
from alerts.rules import Kind, RuleSettings
from alerts.signal import Signal, cloudevent, parse
from detectors.measurement import Verdict
from tests.unit.alerts.judging import (
    BUCKET_MS,
    CANARY,
    FULL,
    LATENESS_MS,
    T0,
    WINDOW_MS,
    ids,
    judge,
    reward,
    sealed,
)

OK, BREACH, UNKNOWN = Verdict.OK, Verdict.BREACH, Verdict.UNKNOWN
KEEP_SEALS = 2 * WINDOW_MS // BUCKET_MS


@pytest.mark.parametrize(
    ("verdicts", "kinds"),
    [
        ({"full": BREACH}, {"v2": ("fallback", "rules-v3")}),
        ({"canary": BREACH}, {"v3": ("rollback", "v1")}),
        ({"canary": BREACH, "full": OK}, {"v3": ("rollback", "v1")}),
        ({"canary": BREACH, "full": UNKNOWN}, {"v3": ("rollback", "v1")}),
        ({"canary": BREACH, "full": BREACH}, {"v2": ("fallback", "rules-v3"), "v3": ("page", None)}),
        ({"shadow": BREACH}, {"v4": ("hold", None)}),
        ({"fallback": BREACH}, {"rules-v3": ("page", None)}),
        ({"full": OK, "canary": UNKNOWN}, {}),
    ],
)
def test_a_tripped_rule_asks_by_stage(
    verdicts: dict[str, Verdict], kinds: dict[str, tuple[str, str | None]]
) -> None:
    told = {signal.policy: (signal.kind, signal.to_policy) for signal in sealed(judge(), 0, **verdicts)}
    assert told == kinds


def test_a_rollback_without_a_previous_policy_names_the_fallback() -> None:
    (signal,) = sealed(judge(rollback_policy=""), 0, canary=BREACH)
    assert (signal.kind, signal.to_policy) == ("rollback", "rules-v3")


def test_a_firing_signal_carries_the_evidence() -> None:
    (signal,) = sealed(judge(), 3, full=BREACH)
    now_ms = T0 + 3 * BUCKET_MS
    assert (signal.state, signal.rule, signal.time_ms, signal.subject) == ("firing", "reward", now_ms, "full")
    assert signal.expires_at_ms == now_ms + 3_600_000
    evidence = signal.evidence
    assert (evidence.statistic, evidence.value, evidence.threshold, evidence.n) == (
        "reward.mean",
        0.41,
        0.5,
        1_000,
    )
    assert (evidence.window_start_ms, evidence.window_end_ms) == (now_ms - WINDOW_MS, now_ms)
    assert (evidence.baseline, evidence.culprits) == ("b2:77", ("price", "hour"))
    assert parse(cloudevent(signal)) == signal


def test_the_end_says_the_same_kind_as_the_beginning() -> None:
    """The full traffic recovers first, so the canary would be rolled back if it were asked again."""
    by = judge()
    fired = sealed(by, 0, full=BREACH, canary=BREACH)
    ended = [s for seal in range(1, KEEP_SEALS + 3) for s in sealed(by, seal, full=OK, canary=OK)]
    assert [(s.policy, s.kind, s.state) for s in fired] == [
        ("v2", "fallback", "firing"),
        ("v3", "page", "firing"),
    ]
    assert [(s.policy, s.kind, s.state) for s in ended] == [
        ("v2", "fallback", "resolved"), ("v3", "page", "resolved")
    ]  # fmt: skip
    assert [s.time_ms for s in ended] == [T0 + (KEEP_SEALS + 1) * BUCKET_MS] * 2
    assert [s.alert_key for s in fired] == [s.alert_key for s in ended]


def test_a_config_that_changed_meanwhile_does_not_change_how_an_alert_ends() -> None:
    before, after = judge(), judge(settings={"reward": RuleSettings(kind=Kind.PAGE)})
    sealed(before, 0, full=BREACH)
    after.alerts, after.told = before.alerts, before.told
    ended = [s for seal in range(1, KEEP_SEALS + 3) for s in sealed(after, seal, full=OK)]
    assert [(s.kind, s.state) for s in ended] == [("fallback", "resolved")]


def test_ids_are_the_same_on_replay_and_distinct_for_everything_told() -> None:
    def told() -> list[Signal]:
        by = judge()
        series = [BREACH, *[OK] * (KEEP_SEALS + 2)] * 2
        return [s for seal, v in enumerate(series) for s in sealed(by, seal, full=v, canary=v, shadow=v)]

    once, again = told(), told()
    assert [cloudevent(s) for s in once] == [cloudevent(s) for s in again]
    assert len(set(ids(once))) == len(once) == 12


def test_another_deployment_has_other_ids() -> None:
    (home,), (shop,) = sealed(judge(), 0, full=BREACH), sealed(judge(deployment="shop"), 0, full=BREACH)
    assert home.id != shop.id


def test_the_generation_grows_with_each_signal() -> None:
    by = judge()
    series = [BREACH, *[OK] * (KEEP_SEALS + 2)] * 3
    told = [s for seal, v in enumerate(series) for s in sealed(by, seal, full=v, canary=v, shadow=v)]
    generations = [s.generation for s in told]
    assert generations == sorted(set(generations))
    assert generations[0] >= (T0 + LATENESS_MS) * 1_000
    assert generations[-1] < 2**53  # a receiver in JavaScript reads it exactly


@pytest.mark.parametrize("dry", [{"dry_run": True}, {"settings": {"reward": RuleSettings(dry_run=True)}}])
def test_a_dry_run_says_what_it_would_have_done(dry: dict[str, object]) -> None:
    (signal,) = sealed(judge(**dry), 0, full=BREACH)
    assert signal.dry_run
    assert (signal.kind, signal.safety) == ("fallback", False)
    assert "dry run" in signal.reason


def test_a_dry_run_of_one_rule_leaves_the_others_alone() -> None:
    (signal,) = sealed(judge(settings={"state": RuleSettings(dry_run=True)}), 0, full=BREACH)
    assert not signal.dry_run


def test_a_rule_that_is_off_says_nothing() -> None:
    assert sealed(judge(settings={"reward": RuleSettings(enabled=False)}), 0, full=BREACH) == []


def test_an_alert_that_was_only_pending_is_forgotten_when_it_clears() -> None:
    by = judge(settings={"reward": RuleSettings(hold_ms=3 * BUCKET_MS)})
    sealed(by, 0, full=BREACH)
    assert by.alerts["reward", *FULL].state is AlertState.PENDING
    sealed(by, 1, full=OK)
    assert by.alerts == {}
    sealed(by, 2, full=BREACH)
    assert by.alerts["reward", *FULL].since_ms == T0 + 2 * BUCKET_MS


def test_a_silent_policy_keeps_its_alert() -> None:
    by = judge()
    sealed(by, 0, full=BREACH)
    assert [s for seal in range(1, 200) for s in sealed(by, seal, canary=OK)] == []
    assert by.alerts["reward", *FULL].state is AlertState.FIRING


@pytest.mark.parametrize("latch", [True, False])
def test_a_policy_that_is_gone_ends_its_alerts_and_puts_nothing_back(latch: bool) -> None:
    by = judge(latch=latch)
    (fired,) = sealed(by, 0, full=BREACH)
    (ended,) = by.leave(FULL, T0 + 9 * BUCKET_MS, 0, " It is gone.")
    assert (ended.state, ended.alert_key) == ("resolved", fired.alert_key)
    assert (ended.kind, ended.to_policy) == ("fallback", "rules-v3")  # nobody has seen it get better
    assert ended.reason == (
        "v2 (full) is watched no longer, so this alert ends; reward was not seen to get better. That puts nothing "
        "back: rules-v3 serves until a person changes it. It is gone."
    )
    assert by.leave(FULL, T0 + 9 * BUCKET_MS, 0, "") == []


def test_a_policy_that_is_forgotten_takes_everything_with_it_and_nothing_else() -> None:
    by = judge()
    sealed(by, 0, full=BREACH, canary=BREACH)
    by.leave(FULL, T0 + BUCKET_MS, 0, "")
    for table in (by.alerts, by.told):
        assert {name[1:] for name in table} == {CANARY}
    assert set(by.streaks) == {CANARY}


def test_the_order_in_which_policies_are_handed_over_does_not_matter() -> None:
    there = {FULL: [reward(BREACH)], CANARY: [reward(BREACH)]}
    back = dict(reversed(there.items()))
    assert judge().at_seal(T0, there) == judge().at_seal(T0, back)


def test_numbers_that_do_not_exist_are_null_in_the_wire_form() -> None:
    nameless = msgspec.structs.replace(sealed(judge(), 0, full=BREACH)[0].evidence, value=float("nan"))
    (signal,) = sealed(judge(), 0, full=BREACH)
    assert b'"value":null' in cloudevent(msgspec.structs.replace(signal, evidence=nameless))
