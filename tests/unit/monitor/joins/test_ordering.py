import numpy as np
import pytest

from monitor.joins import ordering
from monitor.joins.ordering import in_order, order_of

START_MS = 1_767_225_600_000


def drawn(seed: int, rows: int, moments: int, names: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times of few moments and ids of few names, so that both come twice, and a column to tell them apart."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 2**64, names, np.uint64)[rng.integers(0, names, rows)]
    return START_MS + rng.integers(0, moments, rows), ids, rng.normal(size=rows)


@pytest.mark.parametrize("rows", [2, 100, 5_000])
@pytest.mark.parametrize(("moments", "names"), [(10_000, 1_000_000), (20, 1_000_000), (10_000, 30), (20, 30)])
@pytest.mark.parametrize("few", [0, 1_000])
def test_rows_of_any_number_are_ordered_as_a_sort_by_all_columns_does(
    rows: int, moments: int, names: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "FEW", few)
    ts_ms, ids, more = drawn(rows, rows, moments, names)
    assert order_of(ts_ms, ids, more).tolist() == np.lexsort((more, ids, ts_ms)).tolist()
    assert order_of(ts_ms, ids).tolist() == np.lexsort((ids, ts_ms)).tolist()


def test_times_too_far_apart_for_one_integer_are_ordered_too() -> None:
    rng = np.random.default_rng(1)
    ts_ms, ids = rng.integers(-(2**62), 2**62, 3_000), rng.integers(0, 2**64, 3_000, np.uint64)
    order = order_of(ts_ms, ids)
    assert in_order(ts_ms[order], ids[order])


def test_ordered_rows_stay_where_they_are_and_no_rows_are_in_order() -> None:
    ts_ms, ids = np.repeat(START_MS + np.arange(10), 2), np.tile(np.array([3, 2**64 - 1], np.uint64), 10)
    assert order_of(ts_ms, ids).tolist() == list(range(20))
    assert order_of(ts_ms[:0], ids[:0]).tolist() == []
    assert not in_order(ts_ms[[0, 0]], ids[[0, 0]])
