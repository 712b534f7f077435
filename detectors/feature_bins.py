"""Bins of continuous or categorical columns, fixed once by a baseline sample."""

from collections.abc import Sequence

import numpy as np

from detectors.arrays import F64, I64, Arrays, Bool
from detectors.finite_columns import finite_columns
from detectors.protocol import Plan

VALUES = 10  # bins of known values: deciles, or one per value of a categorical column
CHUNK = 1_024  # rows counted at a time: stays in cache
_EDGES = VALUES + 1
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
    for start in range(0, len(columns), CHUNK) if ranged.any() else ():
        counts[ranged] += _ranged_counts(edges[ranged], columns[start : start + CHUNK, ranged])
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


def _ranged_counts(edges: F64, columns: F64) -> F64:
    """(d, 13) counts of columns (n, d) between edges (d, 11): eleven comparisons cost a third of a search."""
    values = np.ascontiguousarray(columns.T)
    above = np.zeros(values.shape, np.uint8)  # how many edges each value exceeds
    for edge in edges.T:
        above += values > edge[:, None]
    missing = ~np.isfinite(values)
    below = values < edges[:, :1]
    below &= ~missing
    above[missing] = _EDGES + 1
    above[below] = _EDGES + 2
    width = _EDGES + 3
    above_of = above + (np.arange(len(values)) * width)[:, None]
    raw = np.bincount(above_of.ravel(), minlength=len(values) * width).reshape(-1, width)
    last = np.isfinite(edges).sum(axis=1)  # what exceeds all edges
    counts = np.zeros((len(values), BINS))
    counts[:, :VALUES] = raw[:, 1:_EDGES]
    counts[:, 0] += raw[:, 0]
    rows = np.arange(len(values))
    beyond = raw[rows, last]
    inside = last <= VALUES
    counts[rows[inside], last[inside] - 1] -= beyond[inside]
    counts[:, ABOVE], counts[:, MISSING], counts[:, BELOW] = beyond, raw[:, _EDGES + 1], raw[:, _EDGES + 2]
    return counts


def _codes(values: F64, column: F64) -> I64:
    """The bin of each value of a categorical column."""
    known = values[np.isfinite(values)]
    at = np.minimum(np.searchsorted(known, column), max(len(known) - 1, 0))
    codes = np.where(known[at] == column, at, BELOW) if len(known) else np.full(len(column), BELOW)
    return np.asarray(np.where(np.isfinite(column), codes, MISSING), dtype=np.int64)
