"""The words of a page."""

from msgspec.structs import replace

from alerts.senders.page_text import link, sections, shortened, title
from tests.unit.alerts.build import EVIDENCE, signal


def test_page_answers_the_four_questions() -> None:
    assert dict(sections(signal())) == {
        "What happened": "Mean reward 0.412 is below the trip line 0.498 (12,345 decisions).",
        "How sure": "reward_mean = 0.412 against a threshold of 0.498, from 12,345 samples between"
        " 2024-05-01 11:50:00 and 2024-05-01 12:00:00 UTC. Contributing most: price, hour.",
        "What was done": "home-ranker was told to serve rules-v3 instead of v42 (generation 7).",
        "What to do": "Follow deploy/runbook.md#reward",
    }


def test_title_says_where_what_and_why() -> None:
    assert title(signal()) == "FIRING home-ranker: fallback from v42 (reward)"
    assert title(signal(kind="rollback", subject="canary")) == (
        "FIRING home-ranker: rollback of v42 (reward, canary)"
    )


def test_dry_run_says_that_nothing_was_done() -> None:
    dry = signal(dry_run=True)
    assert title(dry).startswith("[dry run] ")
    assert dict(sections(dry))["What was done"] == "Nothing: this rule is in dry run."


def test_resolved_fallback_does_not_claim_that_the_policy_is_back() -> None:
    said = dict(sections(signal(state="resolved")))
    assert "Nothing is switched back by that alone" in said["What was done"]
    assert said["What to do"].startswith("Nothing now.")


def test_unknown_value_is_said_in_words() -> None:
    blind = signal(evidence=replace(EVIDENCE, value=None, threshold=None, n=0, culprits=()))
    assert dict(sections(blind))["How sure"].startswith("reward_mean cannot be computed, from 0 samples")


def test_long_lists_of_culprits_are_counted() -> None:
    many = signal(evidence=replace(EVIDENCE, culprits=tuple("abcdefgh")))
    assert dict(sections(many))["How sure"].endswith("Contributing most: a, b, c, d, e and 3 more.")


def test_runbook_anchor_is_a_slug() -> None:
    url = link(signal(rule="State divergence (KL)"), "https://wiki.example.org/runbook")
    assert url == "https://wiki.example.org/runbook#state-divergence-kl"


def test_shortened_text_shows_that_it_is() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde…"
