"""Up to eight segments of a decision in one number."""

import numpy as np

from detectors.critic.packed_segments import CODES, pack, unpack


def test_what_is_packed_comes_out_again() -> None:
    rng = np.random.default_rng(1)
    columns = [rng.integers(-1, CODES, 200) for _ in range(8)]
    packed, dropped = pack(columns)
    held = np.sort(np.stack(unpack(packed)), axis=0)
    np.testing.assert_array_equal(held, np.sort(np.stack(columns), axis=0))
    assert dropped == 0


def test_a_ninth_segment_has_no_room_and_is_counted() -> None:
    columns = [np.array([i, -1 if i % 2 else i]) for i in range(9)]
    packed, dropped = pack(columns)
    assert dropped == 1
    found = np.stack(unpack(packed))
    assert found[:, 0].tolist() == list(range(8))
    assert found[:, 1].tolist() == [0, 2, 4, 6, 8, -1, -1, -1]


def test_a_row_without_segments_is_zero() -> None:
    packed, _ = pack([np.array([-1, 0])])
    assert packed.tolist() == [0, 1]
    assert unpack(np.zeros(3, np.uint64)) == []
