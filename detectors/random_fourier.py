"""Random Fourier features of robustly standardised rows: a kernel mean that is a plain sum.

Rahimi & Recht (2007), cosine and sine pairs, so that k(x, x) is exactly 1. Three RBF bandwidths (half, once and
twice the median distance) share the frequencies equally.
"""

import numpy as np

from detectors.arrays import F32, F64, Arrays

CLIP = 6.0  # standardised units: one wild value must not own the kernel
STEP = 2.0**16  # features are whole multiples of 1/STEP, so that their sums are exact in any order and split
CHUNK = 256  # rows per product; CHUNK * STEP <= 2**24 keeps float32 sums exact
BANDWIDTHS = (0.5, 1.0, 2.0)
SEED = 20_070_103


def feature_count(width: int) -> int:
    """D, cosines and sines together, for d = width."""
    return 256 if width <= 8 else 512 if width <= 64 else 1_024


def fit_fourier(rows: F64) -> Arrays:
    """Schema of rows (n, d): `center` and `scale` (d,), `frequencies` (d, D/2) of standardised rows, float32."""
    width = rows.shape[1]
    center, scale = robust_scale(rows)
    distance = median_distance(standardised(rows, center, scale))
    count = feature_count(width) // 2
    directions = np.random.default_rng(SEED).standard_normal((width, count))
    widths = np.resize(np.array(BANDWIDTHS), count) * distance
    return {"center": center, "scale": scale, "frequencies": (directions / widths).astype(np.float32)}


def robust_scale(rows: F64) -> tuple[F64, F64]:
    """Median and IQR / 1.349 per column; the standard deviation where the IQR is 0, 1 where that is 0 too."""
    center, scale = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
    for j in range(rows.shape[1]):
        finite = rows[np.isfinite(rows[:, j]), j]
        if len(finite) == 0:
            continue
        low, center[j], high = np.quantile(finite, [0.25, 0.5, 0.75])
        spread = (high - low) / 1.349 or float(np.std(finite))
        scale[j] = spread if spread > 1e-12 * max(abs(center[j]), 1e-300) else max(abs(center[j]), 1.0)
    return center, scale


def standardised(rows: F64, center: F64, scale: F64) -> F32:
    """Rows (n, d) in robust units, clipped; a missing value stands at the centre (quality names it, not the kernel)."""
    units = (rows - center) / scale
    return np.asarray(np.clip(np.where(np.isfinite(units), units, 0.0), -CLIP, CLIP), dtype=np.float32)


def median_distance(units: F32, most: int = 500) -> float:
    """Median Euclidean distance between up to `most` evenly spaced rows; 1 where all are equal."""
    if len(units) < 2:
        return 1.0
    some = units[np.unique(np.linspace(0, len(units) - 1, most).astype(np.int64))].astype(np.float64)
    squared = (some**2).sum(axis=1)
    pairs = squared[:, None] + squared[None, :] - 2 * some @ some.T
    distance = float(np.sqrt(np.median(np.maximum(pairs[np.triu_indices(len(some), 1)], 0.0))))
    return distance if distance > 1e-6 else 1.0


def fourier_sums(schema: Arrays, rows: F64) -> F64:
    """(D,) sums over rows of cosines, then sines, in units of sqrt(D/2) phi; exact, hence additive to the bit.

    Every product has CHUNK rows (the last is padded), so that a row's features do not depend on its neighbours.
    """
    frequencies: F32 = np.asarray(schema["frequencies"], dtype=np.float32)
    count = frequencies.shape[1]
    total = np.zeros(2 * count)
    units = standardised(rows, np.asarray(schema["center"]), np.asarray(schema["scale"]))
    for start in range(0, len(units), CHUNK):
        part = units[start : start + CHUNK]
        padded = np.zeros((CHUNK, units.shape[1]), dtype=np.float32)
        padded[: len(part)] = part
        phase = (padded @ frequencies)[: len(part)]
        total[:count] += _exact_sum(np.cos(phase))
        total[count:] += _exact_sum(np.sin(phase))
    return total


def _exact_sum(features: F32) -> F64:
    np.multiply(features, np.float32(STEP), out=features)
    np.rint(features, out=features)
    return np.asarray(np.add.reduce(features, axis=0), dtype=np.float64) / STEP
