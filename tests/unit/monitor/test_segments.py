"""From segments as they were logged to packed codes: the same however the log is cut, and bounded."""

import numpy as np
import pytest

from detectors.arrays import I32
from detectors.critic.packed_segments import CODES, unpack
from monitor.segments import Segments
from monitor.vocabulary import OTHER, Labels, Vocabulary


def vocabulary(**values: list[str]) -> Vocabulary:
    made = Vocabulary(Labels(1))
    for name, known in values.items():
        made.segment_labels(name, 1_000).extend(known)
    return made


def column(*codes: int) -> I32:
    return np.array(codes, np.int32)


def names_of(segments: Segments, columns: dict[str, I32], n: int) -> list[list[str]]:
    """What each row lies in, by name."""
    packed = segments.of(columns, n)
    names = segments.vocabulary.segments_of(0).names
    return [[names[codes[row]] for codes in unpack(packed) if codes[row] >= 0] for row in range(n)]


def test_each_row_lies_in_the_segments_that_it_names() -> None:
    words = vocabulary(site=["north", "south"], device=["mobile"])
    found = names_of(Segments(words, 0), {"site": column(1, -1, 0), "device": column(0, -1, -1)}, 3)
    assert found == [["device=mobile", "site=south"], [], ["site=north"]]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_codes_follow_the_rows_however_they_are_cut(cut: int) -> None:
    values = {"site": ["a", "b", "c"], "device": ["x", "y"]}
    site, device = column(2, 0, 2, 1), column(1, 1, 0, 0)
    whole = Segments(vocabulary(**values), 0)
    whole.of({"site": site, "device": device}, 4)
    parts = Segments(vocabulary(**values), 0)
    parts.of({"site": site[:cut], "device": device[:cut]}, cut)
    parts.of({"site": site[cut:], "device": device[cut:]}, 4 - cut)
    expected = ["device=y", "site=c", "site=a", "device=x", "site=b"]
    assert whole.vocabulary.segments_of(0).names == parts.vocabulary.segments_of(0).names == expected


def test_values_beyond_a_byte_are_other_and_counted() -> None:
    words = vocabulary(site=[f"s{i}" for i in range(300)])
    found = names_of(Segments(words, 0), {"site": np.arange(300, dtype=np.int32)}, 300)
    labels = words.segments_of(0)
    assert found[0] == ["site=s0"]
    assert {name for row in found[CODES - 1 :] for name in row} == {OTHER}
    assert labels.dropped == 300 - (CODES - 1)
    assert len(labels.names) == CODES


def test_a_new_process_goes_on_with_the_codes_of_the_old_one() -> None:
    words = vocabulary(site=["north", "south"])
    before = Segments(words, 0).of({"site": column(1, 0)}, 2)
    np.testing.assert_array_equal(Segments(words, 0).of({"site": column(1, 0)}, 2), before)
