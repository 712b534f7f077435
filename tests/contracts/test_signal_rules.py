"""Every rule that the code can put into a signal is one that the table knows, and the page for receivers names it."""

import ast
from collections.abc import Iterator

from alerts.rules import DEFAULT_KINDS, OWN_KINDS
from tests.paths import ROOT

NAMED = {"HoldOrder": 0, "page": 1, "_to_all": 1}  # which argument is the rule


def emitted() -> dict[str, str]:
    """Rule -> file, of all that stand in the code as words: orders, pages, signals, and constants named for it."""
    found: dict[str, str] = {}
    for path in [*(ROOT / "alerts").rglob("*.py"), *(ROOT / "monitor").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            found |= dict.fromkeys(_rules(node), path.name)
    return found


def _rules(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=arguments, keywords=keywords):
            if name in NAMED and len(arguments) > NAMED[name]:
                yield from _words(arguments[NAMED[name]])
            if name in ("HoldOrder", "Signal"):
                yield from (word for one in keywords if one.arg == "rule" for word in _words(one.value))
        case ast.Assign(targets=[ast.Name(id="RULE" | "RULES")], value=value):
            yield from _words(value)
        case ast.Yield(value=ast.Tuple(elts=[ast.Constant(value=str(word)), *_])) if word.startswith(
            "blind."
        ):
            yield word


def _words(node: ast.expr) -> list[str]:
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def test_every_rule_in_the_code_is_in_the_table_and_the_other_way_round() -> None:
    known = DEFAULT_KINDS.keys() | OWN_KINDS.keys() | {"test"}  # the last: `policywatch test-send`
    assert {rule: path for rule, path in emitted().items() if rule not in known} == {}
    assert OWN_KINDS.keys() <= emitted().keys()


def test_the_page_for_receivers_names_every_rule() -> None:
    text = (ROOT / "docs" / "signals.md").read_text()
    assert [rule for rule in (*DEFAULT_KINDS, *OWN_KINDS) if f"`{rule}`" not in text] == []
