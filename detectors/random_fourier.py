"""Random Fourier features of robustly standardised rows: a kernel mean that is a plain sum.

Rahimi & Recht (2007), cosine and sine pairs, so that k(x, x) is exactly 1. Three RBF bandwidths (half, once and
twice the median distance) share the frequencies equally.
"""

from math import factorial, pi

import numpy as np

from detectors.arrays import F32, F64, Arrays

CLIP = 6.0  # standardised units: one wild value must not own the kernel
# Rows, frequencies and features are whole multiples of these steps, so that products (15 + 27 + 10 bits, exact in
# float64 up to d = 768) and sums are exact: the same to the bit in any order, split, BLAS, and on any machine.
ROW_STEP, TURN_STEP, STEP = 2.0**12, 2.0**24, 2.0**16
CHUNK = 256  # rows of one product; CHUNK * STEP <= 2**24 keeps float32 sums exact
CELLS = 2**15  # cosines at a time: stays in cache
BANDWIDTHS = (0.5, 1.0, 2.0)
SEED = 20_070_103
_TAYLOR = [np.float32((-1) ** k * (2 * pi) ** (2 * k + 1) / factorial(2 * k + 1)) for k in range(5)]
MIN_DISTANCE = 0.5  # keeps |turns| below 8, as the exactness above needs


def feature_count(width: int) -> int:
    """D, cosines and sines together, for d = width."""
    return 256 if width <= 8 else 512 if width <= 64 else 1_024


def fit_fourier(rows: F64) -> Arrays:
    """Schema of rows (n, d): `center` and `scale` (d,), `frequencies` (d, D/2) in turns per standardised unit."""
    width = rows.shape[1]
    center, scale = robust_scale(rows)
    distance = median_distance(standardised(rows, center, scale))
    count = feature_count(width) // 2
    directions = np.random.default_rng(SEED).standard_normal((width, count))
    widths = np.resize(np.array(BANDWIDTHS), count) * max(distance, MIN_DISTANCE)
    turns = np.rint(directions / widths / (2 * np.pi) * TURN_STEP) / TURN_STEP
    return {"center": center, "scale": scale, "frequencies": turns}


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


def standardised(rows: F64, center: F64, scale: F64) -> F64:
    """Rows (n, d) in robust units, clipped; a missing value stands at the centre (quality names it, not the kernel)."""
    units = np.asarray((rows - center) / scale)
    finite = np.isfinite(units)
    if not finite.all():
        units[~finite] = 0.0
    np.minimum(np.maximum(units, -CLIP, out=units), CLIP, out=units)
    return np.asarray(np.rint(np.multiply(units, ROW_STEP, out=units), out=units) / ROW_STEP)


def median_distance(units: F64, most: int = 500) -> float:
    """Median Euclidean distance between up to `most` evenly spaced rows; 1 where all are equal."""
    if len(units) < 2:
        return 1.0
    some = units[np.unique(np.linspace(0, len(units) - 1, most).astype(np.int64))]
    squared = (some**2).sum(axis=1)
    pairs = squared[:, None] + squared[None, :] - 2 * some @ some.T
    distance = float(np.sqrt(np.median(np.maximum(pairs[np.triu_indices(len(some), 1)], 0.0))))
    return distance if distance > 1e-6 else 1.0


def fourier_sums(schema: Arrays, rows: F64) -> F64:
    """(D,) sums over rows of cosines, then sines, in units of sqrt(D/2) phi; exact, hence additive to the bit."""
    frequencies: F64 = np.asarray(schema["frequencies"], dtype=np.float64)
    count = frequencies.shape[1]
    total = np.zeros(2 * count)
    center, scale = (np.asarray(schema[name], np.float64) for name in ("center", "scale"))
    step = max(CELLS // count, 8)
    for start in range(0, len(rows), CHUNK):
        turns = standardised(rows[start : start + CHUNK], center, scale) @ frequencies
        for cell in range(0, len(turns), step):
            part = turns[cell : cell + step]
            wrapped = (part - np.rint(part)).astype(np.float32)
            from_half = np.subtract(np.float32(0.25), np.abs(wrapped))
            total[:count] += _exact_sum(_sine(from_half))
            np.subtract(np.float32(0.25), np.abs(from_half, out=from_half), out=from_half)
            total[count:] += _exact_sum(_sine(np.copysign(from_half, wrapped, out=from_half)))
    return total


def _sine(turns: F32) -> F32:
    """sin(2 pi turns) for |turns| <= 1/4 to 4e-6 by Taylor: additions and products only, alike everywhere."""
    squared = turns * turns
    series = squared * _TAYLOR[-1]
    for coefficient in _TAYLOR[-2:0:-1]:
        np.add(series, coefficient, out=series)
        np.multiply(series, squared, out=series)
    np.add(series, _TAYLOR[0], out=series)
    np.multiply(series, turns, out=series)
    return series


def _exact_sum(features: F32) -> F64:
    np.multiply(features, np.float32(STEP), out=features)
    np.rint(features, out=features)
    return np.asarray(np.add.reduce(features, axis=0), dtype=np.float64) / STEP
