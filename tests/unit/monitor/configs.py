"""Config tables for tests: the smallest useful one, changed where the test says so."""

from copy import deepcopy
from typing import Any

import pytest

from monitor.config import Config
from monitor.config_file import parse_config
from monitor.config_reader import ConfigError

SMALLEST: dict[str, Any] = {
    "source": {"kind": "files"},
    "deployments": {"home": {"baseline": "baselines/home"}},
}


def table(**changed: Any) -> dict[str, Any]:
    """The smallest useful config; dotted keys written with `__` go into nested tables."""
    made = deepcopy(SMALLEST)
    for path, value in changed.items():
        *folders, name = path.split("__")
        into = made
        for folder in folders:
            into = into.setdefault(folder, {})
        into[name] = value
    return made


def config(**changed: Any) -> Config:
    """The same, parsed."""
    return parse_config(table(**changed))


def faults(**changed: Any) -> list[str]:
    """What is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        config(**changed)
    return caught.value.faults
