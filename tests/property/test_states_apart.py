"""States read apart from their records: the same columns and the same rejections as of whole records, to the bit."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.batch import Kind
from monitor.decoding import states
from monitor.decoding.decode import decode
from monitor.decoding.decode_settings import DecodeSettings, DeploymentSettings
from monitor.vocabulary import Labels, Vocabulary
from tests.property.test_decode import decisions, metrics, rewards, same, show, spoiled

pytest.importorskip("simdjson")

PLAIN = DecodeSettings({"home": DeploymentSettings(), "shop": DeploymentSettings()}, "home")
RENAMED = DecodeSettings({"home": DeploymentSettings()}, "home", fields={"state": "x", "decision_id": "id"})
HEAD = '{"type":"decision","decision_id":"d","policy":"v","ts":1767225600000,"action":1'

numbers = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.tuples(st.integers(-9, 9), st.text("0123456789", min_size=1, max_size=30)).map(
        lambda x: f"{x[0]}.{x[1]}"
    ),
    st.sampled_from(["-0", "-0.0", "1e400", "1e-400", "-9e307", "-9.0e307", "5e-324", "1E2", "17976931348623157e292"]),
)  # fmt: skip
odd_texts = st.sampled_from(
    ["[]", "null", "0", "[true]", "[null]", "[[1]]", "[1,[2]]", '["1"]', "[{}]", "[1,]", "[01]", "[1 , 2\t]", "[1\n,2]",
     '"\x7f"', '"\\u007f"', "[1", "1]", "[NaN]", "[1]]", "[1]3", '["a]b"]', "-9e307", '"[1]"', '[1],"state":[2]',
     '"\x7f","y":{"state":[1]}', '[1],"y":{"state":[2]}', 'null,"state":[1]', '[1],"state":"\x7f"',
     '[1],"st\\u0061te":[3]', '"]","z":[1]', "[\x7f]"]
)  # fmt: skip
state_texts = st.one_of(
    st.lists(numbers, min_size=1, max_size=4).map(lambda n: f"[{','.join(n)}]"), odd_texts
)


@st.composite
def stated(draw: st.DrawFn) -> bytes:
    """A decision whose state is written in some way, somewhere."""
    name = draw(st.sampled_from(["state", "state", "state", "x", "states"]))
    colon = draw(st.sampled_from([":", ":", ": ", " :"]))
    state = f'"{name}"{colon}{draw(state_texts)}'
    before = draw(
        st.sampled_from(["", ',"y":{"state":[7]}', ',"note":"\x7f"', ',"note":"state"', ',"unit":"é"'])
    )
    after = draw(st.sampled_from(["", ',"masked":[0]', ',"state":null', ',"y":["state"]', ',"state":[5]']))
    return f"{HEAD}{before},{state}{after}}}".encode()


other = st.one_of(decisions, rewards, metrics).map(lambda record: json.dumps(record).encode())
compact = decisions.map(lambda record: json.dumps(record, separators=(",", ":")).encode())
polls = st.lists(st.one_of(stated(), compact, compact, other, spoiled(), st.none()), max_size=8)


@settings(max_examples=400, deadline=None)
@given(polls, st.sampled_from([None, None, Kind.DECISION]), st.sampled_from([PLAIN, PLAIN, RENAMED]))
@example([HEAD.encode() + b',"state":[1,', b"2]}", HEAD.encode() + b',"state":[1]}'], Kind.DECISION, PLAIN)
@example([HEAD.encode() + b',"y":{"state":[7]},"state":"\x7f"}'], Kind.DECISION, PLAIN)
@example([HEAD.encode() + b',"state":-1,"state":[5]}'], None, PLAIN)
@example([HEAD.encode() + b',"state":"no","state":[5]}'], None, PLAIN)
@example([HEAD.encode() + b',"state":"\\u007F","state":[5]}'], None, PLAIN)
@example([HEAD.encode() + b',"state":[[1]],"state":[5]}'], None, PLAIN)
@example([HEAD.encode() + b',"state":[true],"state":null}'], None, PLAIN)
@example([HEAD.encode() + b',"state":[1.5,-0]}', HEAD.encode() + b',"state":[1,2,3]}'], None, PLAIN)
@example([HEAD.encode() + b',"state":[1,-9e307,2]}', HEAD.encode() + b',"state":[1]}'], None, PLAIN)
def test_a_poll_says_the_same_with_its_states_read_apart_and_in_place(
    payloads: list[bytes | None], kind: Kind | None, how: DecodeSettings
) -> None:
    apart, in_place = _decoded(payloads, kind, how), _decoded_in_place(payloads, kind, how)
    assert apart[1] == in_place[1]
    assert show(apart[2]) == show(in_place[2])
    assert sorted(apart[0].decisions) == sorted(in_place[0].decisions)
    for code, table in in_place[0].decisions.items():
        same(apart[0].decisions[code], table)
        assert apart[0].decisions[code].state.tobytes() == table.state.tobytes()
    same(apart[0].rewards, in_place[0].rewards)


@settings(max_examples=300, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=6))
def test_numbers_read_apart_are_those_of_the_typed_parse_to_the_bit(texts: list[str]) -> None:
    payloads: list[bytes | None] = [f'{HEAD},"state":[{text}]}}'.encode() for text in texts]
    apart, in_place = (
        _decoded(payloads, Kind.DECISION, PLAIN),
        _decoded_in_place(payloads, Kind.DECISION, PLAIN),
    )
    assert apart[1] == in_place[1]
    for code, table in in_place[0].decisions.items():
        assert apart[0].decisions[code].state.tobytes() == table.state.tobytes()


def test_states_of_ordinary_records_are_read_apart() -> None:
    payloads = [f'{HEAD},"state":[{i},0.5]{more}}}'.encode() for i, more in enumerate(["", ',"value":1'])]
    cut = states.cut([*payloads, f"{HEAD}}}".encode()], "state")
    assert cut is not None
    assert cut.numbers == [b"0,0.5", b"1,0.5"]
    assert cut.payloads[1] == f'{HEAD},"state":"\x7f","value":1}}'.encode()


@pytest.mark.parametrize("text", [b"true", b"[1", b'"1"', b"1,,2", b"01", b""])
def test_a_state_that_cannot_be_read_does_not_keep_the_next_ones_from_it(text: bytes) -> None:
    mark = [states.MARK]
    assert states.vectors(mark, [text]) is None
    after = states.vectors(mark, [b"1,2.5"])
    assert after is not None
    assert after.matrix(2).tolist() == [[1.0, 2.5]]


def _decoded(payloads: list[bytes | None], kind: Kind | None, how: DecodeSettings) -> Any:
    words = Vocabulary(Labels(2, ["home", "shop"], {"home": 0, "shop": 1}))
    batch, rejected = decode("p", range(len(payloads)), payloads, kind, words, how)
    return batch, rejected, words


def _decoded_in_place(payloads: list[bytes | None], kind: Kind | None, how: DecodeSettings) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states, "simdjson", None)
        return _decoded(payloads, kind, how)
