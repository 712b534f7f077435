"""One table of the config: typed questions, collected faults, refused leftovers."""

from pathlib import Path
from typing import Any

import pytest

from alerts.senders.sender import EnvironmentSecret
from monitor.config_reader import ConfigError, Section


def section(**table: Any) -> Section:
    return Section(table, "top", [])


def test_what_is_absent_takes_its_default_without_a_fault() -> None:
    empty = section()
    assert empty.text("a", "x") == "x"
    assert empty.number("b", 1.5) == 1.5
    assert empty.integer("c", 3) == 3
    assert empty.flag("d", True)
    assert empty.texts("e", ("x",)) == ("x",)
    assert empty.duration("f", 10) == 10
    assert empty.rate("g", 0.5) == 0.5
    assert empty.secret("h") is None
    assert empty.sections("i") == {}
    assert empty.array("j") == []
    assert empty.faults == []


def test_what_is_wrong_takes_its_default_and_leaves_a_fault() -> None:
    bad = section(a=1, b="x", c=1.5, d=0, e="x", f="soon", g="often")
    assert bad.text("a", "x") == "x"
    assert bad.number("b", 1.5) == 1.5
    assert bad.integer("c", 3) == 3
    assert bad.flag("d", True)
    assert bad.texts("e", ("x",)) == ("x",)
    assert bad.duration("f", 10) == 10
    assert bad.rate("g", 0.5) == 0.5
    assert [fault.split(":")[0] for fault in bad.faults] == [f"top.{key}" for key in "abcdefg"]


def test_true_is_no_number() -> None:
    bad = section(a=True, b=True)
    bad.number("a", 0.0)
    bad.integer("b", 0)
    assert len(bad.faults) == 2


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_number_is_finite(value: float) -> None:
    bad = section(a=value)
    assert bad.number("a", 1.0) == 1.0
    assert len(bad.faults) == 1


def test_faults_of_nested_tables_have_the_whole_path() -> None:
    root = section(inner={"list": [{"x": 1}]})
    root.section("inner").array("list")[0].text("x")
    assert root.faults == ["top.inner.list[0].x: expected a string, found int"]


def test_a_key_that_nobody_asked_for_is_refused_with_the_nearest_known_one() -> None:
    table = section(bucket="1s", buckets="2s", zzz=1)
    table.duration("bucket", 1)
    table.close()
    assert table.faults == ["top.buckets: unknown key (did you mean bucket?)", "top.zzz: unknown key"]


def test_a_secret_file_is_named_not_read_into_the_config(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret\n")
    assert section(key_file=str(file)).secret("key") == file


def test_a_secret_in_the_environment_is_named_not_read_into_the_config(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOOK", "s3cret")
    found = section(key="${HOOK}").secret("key")
    assert found == EnvironmentSecret("HOOK")
    assert "s3cret" not in repr(found)


def test_an_empty_secret_file_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("# nothing yet\n")
    table = section(key_file=str(file))
    table.secret("key")
    assert table.faults == [f"top.key_file: no secret in {file}"]


def test_the_error_lists_every_fault_one_a_line() -> None:
    error = ConfigError(["a: x", "b: y"])
    assert error.faults == ["a: x", "b: y"]
    assert str(error) == "a: x\nb: y"
