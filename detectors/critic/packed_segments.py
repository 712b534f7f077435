"""The segments of a decision as one number: up to eight codes of a byte each, 0 where there is none."""

import numpy as np

from detectors.arrays import I64, U64

MOST = 8  # segments of one decision
CODES = 255  # of a deployment; a byte holds code + 1


def pack(columns: list[I64]) -> tuple[U64, int]:
    """One number per row from columns (n,) of codes below 255, -1 for none; and how many codes found no room.

    Codes take the next free byte, so that a row's number depends on the row alone.
    """
    n = len(columns[0]) if columns else 0
    packed, used, dropped = np.zeros(n, np.uint64), np.zeros(n, np.uint64), 0
    for codes in columns:
        here = codes >= 0
        fits = here & (used < MOST)
        dropped += int(here.sum() - fits.sum())
        packed |= np.where(fits, codes + 1, 0).astype(np.uint64) << (used * fits * np.uint64(8))
        used += fits
    return packed, dropped


def unpack(packed: U64) -> list[I64]:
    """Columns (n,) of codes, -1 for none; as many as any row has."""
    columns = []
    left = packed
    while left.any():
        columns.append((left & np.uint64(255)).astype(np.int64) - 1)
        left = left >> np.uint64(8)
    return columns
