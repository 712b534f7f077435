"""Columns without what is missing, and their quartiles."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.features.finite_columns import finite_columns, quartiles


def test_each_column_comes_without_what_is_missing_in_the_order_of_rows() -> None:
    rows = np.array([[3.0, np.nan, 1.0], [1.0, np.inf, np.nan], [2.0, 5.0, -np.inf]])
    assert [column.tolist() for column in finite_columns(rows)] == [[3.0, 1.0, 2.0], [5.0], [1.0]]


def test_many_columns_come_in_their_order() -> None:
    rows = np.arange(19.0 * 5).reshape(5, 19)
    np.testing.assert_array_equal(np.array(list(finite_columns(rows))), rows.T)


def test_quartiles_by_hand() -> None:
    assert quartiles(np.array([4.0, 1.0, 3.0, 2.0, 5.0])) == (2.0, 3.0, 4.0)
    assert quartiles(np.array([0.0, 10.0])) == (2.5, 5.0, 7.5)


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=60))
def test_quartiles_are_those_of_numpy(values: list[float]) -> None:
    sample = np.array(values)
    assert quartiles(sample) == tuple(np.quantile(sample, [0.25, 0.5, 0.75]).tolist())
