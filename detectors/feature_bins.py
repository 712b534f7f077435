"""Bins of continuous or categorical columns, fixed once by a baseline sample."""

from collections.abc import Sequence

import numpy as np

from detectors.arrays import F64, I64, Arrays, Bool
from detectors.protocol import Plan

VALUES = 10  # bins of known values: deciles, or one per value of a categorical column
BELOW, ABOVE, MISSING, BINS = 10, 11, 12, 13  # BELOW is also "another value" of a categorical column


def fit_bins(columns: F64) -> Arrays:
    """Schema of columns (n, d): `bin_values` (d, 10) and `bin_edges` (d, 11), NaN and +inf where unused.

    A column with at most 10 distinct values gets one bin for each; any other gets deciles between its least and
    greatest value, fewer where deciles coincide.
    """
    width = columns.shape[1]
    values, edges = np.full((width, VALUES), np.nan), np.full((width, VALUES + 1), np.inf)
    for j in range(width):
        finite = columns[np.isfinite(columns[:, j]), j]
        distinct = np.unique(finite)
        if len(distinct) <= VALUES:
            values[j, : len(distinct)] = distinct
        else:
            ranks = -(-np.arange(VALUES + 1) * len(finite) // VALUES) - 1
            cuts = np.unique(np.sort(finite)[np.maximum(ranks, 0)])
            edges[j, : len(cuts)] = cuts
    return {"bin_values": values, "bin_edges": edges}


def possible_bins(schema: Arrays) -> Bool:
    """(d, 13): the bins that a value can fall into; the others take no part in smoothing."""
    values, edges = schema["bin_values"], schema["bin_edges"]
    possible = np.zeros((len(values), BINS), dtype=bool)
    possible[:, :VALUES] = np.isfinite(values) | (np.isfinite(edges[:, 1:]))
    possible[:, [BELOW, MISSING]] = True
    possible[:, ABOVE] = np.isfinite(edges[:, 0])
    return possible


def bin_counts(schema: Arrays, columns: F64) -> F64:
    """(d, 13) counts of columns (n, d); a column count other than the schema's counts nothing."""
    width = len(schema["bin_values"])
    if columns.shape[1] != width or len(columns) == 0:
        return np.zeros((width, BINS))
    codes = np.empty((width, len(columns)), dtype=np.int64)
    for j in range(width):
        codes[j] = _codes(schema["bin_values"][j], schema["bin_edges"][j], columns[:, j]) + j * BINS
    return np.bincount(codes.ravel(), minlength=width * BINS).reshape(width, BINS).astype(np.float64)


def present_rows(columns: F64) -> F64:
    """The rows that carry anything: a row of NaN is a decision without a state."""
    return columns[~np.isnan(columns).all(axis=1)] if columns.shape[1] else columns[:0]


def feature_names(plan: Plan, option: str, prefix: str, width: int) -> Sequence[str]:
    """Names from the plan's options where they are given, else prefix[0], prefix[1], ..."""
    given = list(plan.options.get(option, ()))
    return [given[j] if j < len(given) else f"{prefix}[{j}]" for j in range(width)]


def _codes(values: F64, edges: F64, column: F64) -> I64:
    if np.isfinite(edges[0]):
        last = int(np.isfinite(edges).sum()) - 1
        codes = np.searchsorted(edges[1:last], column, side="left")
        codes = np.where(column < edges[0], BELOW, np.where(column > edges[last], ABOVE, codes))
    else:
        known = values[np.isfinite(values)]
        at = np.minimum(np.searchsorted(known, column), max(len(known) - 1, 0))
        codes = np.where(known[at] == column, at, BELOW) if len(known) else np.full(len(column), BELOW)
    return np.asarray(np.where(np.isfinite(column), codes, MISSING), dtype=np.int64)
