"""Bins of continuous or categorical columns, fixed once by a baseline sample."""

from collections.abc import Iterator, Sequence

import numpy as np

from detectors.arrays import F64, I64, Arrays, Bool
from detectors.features.finite_columns import finite_columns
from detectors.protocol import Plan

VALUES = 10  # bins of known values: deciles, or one per value of a categorical column
# Rows counted at a time: numpy (2.4) copies what it broadcasts along fewer, which costs three times the comparison.
CHUNK = 8_192
_CELLS = 2**17  # values counted at a time: stays in cache
BELOW, ABOVE, MISSING, BINS = 10, 11, 12, 13  # BELOW is also "another value" of a categorical column


def fit_bins(columns: F64) -> Arrays:
    """Schema of columns (n, d): `bin_values` (d, 10) and `bin_edges` (d, 11), NaN and +inf where unused.

    A column with at most 10 distinct values gets one bin for each; any other gets deciles between its least and
    greatest value, fewer where deciles coincide.
    """
    width = columns.shape[1]
    values, edges = np.full((width, VALUES), np.nan), np.full((width, VALUES + 1), np.inf)
    for j, finite in enumerate(finite_columns(columns)):
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
    counts = np.zeros((width, BINS))
    if columns.shape[1] != width or len(columns) == 0:
        return counts
    edges = np.asarray(schema["bin_edges"], np.float64)
    ranged = np.isfinite(edges[:, 0])
    rows = min(len(columns), CHUNK)
    for some in _blocks(np.flatnonzero(ranged), _CELLS // rows):
        for start in range(0, len(columns), rows):
            counts[some] += _ranged_counts(edges[some], columns[start : start + rows, some])
    for j in np.flatnonzero(~ranged):
        counts[j] = np.bincount(_codes(schema["bin_values"][j], columns[:, j]), minlength=BINS)
    return counts


def present_rows(columns: F64) -> F64:
    """The rows that carry anything: a row of NaN is a decision without a state."""
    if not columns.shape[1]:
        return columns[:0]
    if not np.isnan(columns[:, 0]).any():
        return columns
    return columns[~np.isnan(columns).all(axis=1)]


def feature_names(plan: Plan, option: str, prefix: str, width: int) -> Sequence[str]:
    """Names from the plan's options where they are given, else prefix[0], prefix[1], ..."""
    given = list(plan.options.get(option, ()))
    return [given[j] if j < len(given) else f"{prefix}[{j}]" for j in range(width)]


def _blocks(columns: I64, most: int) -> Iterator[slice | I64]:
    """So many column numbers at a time; as a slice where they follow each other, since that copies nothing."""
    for start in range(0, len(columns), most):
        some = columns[start : start + most]
        first, last = int(some[0]), int(some[-1])
        yield slice(first, last + 1) if last - first == len(some) - 1 else some


def _ranged_counts(edges: F64, columns: F64) -> F64:
    """(d, 13) counts of columns (n <= 8192, d) between edges (d, 11), from how many values lie beyond each edge."""
    values = np.ascontiguousarray(columns.T)
    finite = np.isfinite(values)
    known = _how_many(finite)
    if not finite.all():
        values = np.where(finite, values, -np.inf)
    beyond = _how_many(values[:, None] > edges[:, :, None])
    within = _how_many(values >= edges[:, :1])
    last = np.isfinite(edges).sum(axis=1) - 1
    above = beyond[np.arange(len(values)), last]
    inner = np.arange(VALUES + 1) < last[:, None]
    beyond = np.where(inner, beyond, above[:, None])  # what lies beyond all edges is in no bin between them
    counts = np.zeros((len(values), BINS))
    counts[:, :VALUES] = beyond[:, :-1] - beyond[:, 1:]
    counts[:, 0] += within - beyond[:, 0]
    counts[:, ABOVE], counts[:, MISSING], counts[:, BELOW] = above, len(columns) - known, known - within
    return counts


def _how_many(mask: Bool) -> F64:
    """(...) along the last axis, no longer than 8192: a sum of bools costs five times as much."""
    return np.asarray(np.add.reduce(mask.view(np.uint8), axis=-1, dtype=np.uint16), dtype=np.float64)


def _codes(values: F64, column: F64) -> I64:
    """The bin of each value of a categorical column."""
    known = values[np.isfinite(values)]
    at = np.minimum(np.searchsorted(known, column), max(len(known) - 1, 0))
    codes = np.where(known[at] == column, at, BELOW) if len(known) else np.full(len(column), BELOW)
    return np.asarray(np.where(np.isfinite(column), codes, MISSING), dtype=np.int64)
