"""The example configs are read by the parser itself: every key is there, every default is the default."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alerts.rules import DEFAULT_KINDS
from monitor.config import Config, DeploymentConfig
from monitor.config_file import parse_config
from monitor.config_reader import ConfigError, Section
from tests.paths import ROOT

FOLDER = ROOT / "deploy" / "examples"
WEBHOOK_SECRET = "whsec_" + "c2VjcmV0" * 4
NAMED = re.compile(r"(deployments|costs|rules)\.[^.]+")


def example(secrets: Path) -> str:
    """The full example, its secret files replaced by ones of the test."""
    text = (FOLDER / "policywatch.toml").read_text()
    for name, value in {
        "webhook": WEBHOOK_SECRET, "pagerduty": "R0", "chat-url": "https://chat.internal/hook",
    }.items():  # fmt: skip
        (secrets / name).write_text(value)
        text = text.replace(f"/run/secrets/{name}", str(secrets / name))
    return text


def with_defaults(text: str) -> str:
    return re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE)


def parsed(text: str) -> Config:
    return parse_config(tomllib.loads(text))


def keys_in(table: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every key by its dotted path, names of deployments, costs and rules as `*`."""
    for key, value in table.items():
        here = f"{path}.{key}".strip(".")
        if isinstance(value, dict):
            yield from keys_in(value, here)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from keys_in(value[0], here)
        else:
            yield NAMED.sub(r"\1.*", here)


def test_the_full_example_is_a_good_config(tmp_path: Path) -> None:
    config = parsed(example(tmp_path))
    assert [receiver.kind for receiver in config.receivers] == [
        "webhook",
        "pagerduty",
        "alertmanager",
        "chat",
    ]
    assert config.deployments["home-ranker"].costs["power_kwh"].per == "episode"


def test_a_default_shown_in_the_example_is_the_default(tmp_path: Path) -> None:
    text = example(tmp_path)
    assert len(re.findall(r"^#\w+ = ", text, flags=re.MULTILINE)) > 60
    assert parsed(with_defaults(text)) == parsed(text)


def test_every_key_that_the_parser_asks_for_stands_in_the_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()
    close = Section.close

    def closing(section: Section) -> None:
        asked.update(NAMED.sub(r"\1.*", re.sub(r"\[\d+]", "", section.at(key))) for key in section.asked)
        close(section)

    monkeypatch.setattr(Section, "close", closing)
    text = with_defaults(example(tmp_path))
    parsed(text)
    shown = set(
        keys_in(
            tomllib.loads(
                re.sub(
                    r"^# (hold|keep_firing|false_signals|no_rewards) = ", r"\1 = ", text, flags=re.MULTILINE
                )
            )
        )
    )
    shown |= {path.rpartition(".")[0] for path in shown} | {
        "fields",
        "format",
    }  # a table is asked for by name too
    shown |= {path.partition(".")[0] for path in shown}
    assert {key.removesuffix(".*") for key in asked} <= shown | {
        f"deployments.*.{table}" for table in ("costs", "rules", "action_envelope")
    }
    assert len(asked) > 90


def test_every_rule_is_named_in_the_example() -> None:
    text = (FOLDER / "policywatch.toml").read_text()
    assert [rule for rule in DEFAULT_KINDS if not re.search(rf"\b{rule}\b", text)] == []


def test_the_minimal_example_is_a_good_config_with_every_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICYWATCH_WEBHOOK_SECRET", WEBHOOK_SECRET)
    config = parsed((FOLDER / "minimal.toml").read_text())
    chosen = DeploymentConfig("home-ranker", baseline="baselines/home-ranker", fallback_policy="rules-v3")
    assert config.deployments == {"home-ranker": chosen}
    assert replace(config, deployments={}, receivers=()) == Config(config.source, {})


def test_the_minimal_example_without_its_secret_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLICYWATCH_WEBHOOK_SECRET", raising=False)
    with pytest.raises(ConfigError, match="POLICYWATCH_WEBHOOK_SECRET"):
        parsed((FOLDER / "minimal.toml").read_text())


def test_every_key_of_the_example_is_described_in_the_docs(tmp_path: Path) -> None:
    described = (ROOT / "docs" / "configuration.md").read_text()
    keys = {path.rpartition(".")[2] for path in keys_in(tomllib.loads(with_defaults(example(tmp_path))))}
    assert sorted(key for key in keys if f"`{key}`" not in described) == []
