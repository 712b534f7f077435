"""Random Fourier features of robustly standardised rows: a kernel mean that is a plain sum.

Rahimi & Recht (2007), cosine and sine pairs, so that k(x, x) is 1. Three RBF bandwidths (twice, once and half the
median distance) share the frequencies equally, and their directions: each is the octave of the one before, whose cosine
and sine follow from the doubled angle, so that two thirds of all features cost a product or two and no trigonometry.
"""

from dataclasses import dataclass
from math import ceil, log2
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.arrays import F32, F64, Arrays
from detectors.features.finite_columns import finite_columns, quartiles

CLIP = 6.0  # standardised units: one wild value must not own the kernel
OCTAVES = 3  # bandwidths 2, 1 and 1/2
# Rows and frequencies are whole multiples of steps so large that products and their sums are exact in float32 (24 bits:
# 10.6 of a row, the rest for turns), features are rounded to 2**-16: the same to the bit in any order, split, BLAS, and
# on any machine.
ROW_STEP = 2.0**7
EXACT = 2.0**24
# A baseline of before: rows in steps of 2**-12 and frequencies of 2**-24, exact in float64, one octave.
OLD_ROW_STEP = 2.0**12
UNIT_STEP = 2.0**12  # of standardised rows elsewhere
CELLS = 2**15  # cosines at a time: stays in cache
SEED = 20_070_103
# sin(2 pi t) for |t| <= 1/4 as t, t**3, t**5, t**7: minimax, good to 6e-7, and to 1e-5 after two doublings.
_SINE = [
    np.float32(c) for c in (6.283164044432239, -41.33714236593544, 81.34076849789663, -70.99342876557596)
]
_TWICE = [np.float32(2) * c for c in _SINE]
# Added to a value of at most 2 it leaves the nearest multiple of 2**-15 in the last bits, which are summed as integers.
_ROUNDER = np.float32(1.5 * 2**8)
_ROUNDER_BITS = int(_ROUNDER.view(np.int32))
_MOST_ROWS = 2**14  # sums of 2**17 each within int32
MIN_DISTANCE = 0.5


def pair_count(width: int) -> int:
    """Frequencies of the lowest octave for d = width: D is six times as many."""
    return 40 if width <= 8 else 96 if width <= 64 else 170


def fit_fourier(rows: F64) -> Arrays:
    """Schema of rows (n, d): `center` and `scale` (d,), `frequencies` (d, D/2) in turns per standardised unit, octave
    after octave, `octaves`.
    """
    width = rows.shape[1]
    center, scale = robust_scale(rows)
    distance = median_distance(standardised(evenly_spaced(rows), center, scale))
    directions = _directions(width, pair_count(width))
    lowest = _exact_frequencies(directions / (2 ** (OCTAVES - 2) * max(distance, MIN_DISTANCE)) / (2 * np.pi))
    frequencies = np.concatenate([lowest * 2**octave for octave in range(OCTAVES)], axis=1)
    return {
        "center": center,
        "scale": scale,
        "frequencies": frequencies,
        "octaves": np.array([float(OCTAVES)]),
    }


def _directions(width: int, count: int) -> F64:
    """(d, count) columns like independent standard normal ones, but spread more evenly than chance would.

    Orthogonal in blocks of d (Yu et al. 2016, Orthogonal Random Features), lengths at the quantiles of their law. Of
    changes of mean, variance, correlation and mode MMD sees more with 96 such directions shared by three bandwidths
    than with 256 independent ones: its value is 0.97 to 1.2 times as far beyond the line (d = 8, 32, 128; 240 windows
    of 200 against each of 12 baselines).
    """
    generator = np.random.default_rng(SEED)
    if not width:
        return np.zeros((0, count))
    blocks = [np.linalg.qr(generator.standard_normal((width, width)))[0] for _ in range(-(-count // width))]
    levels = (generator.permutation(count) + 0.5) / count
    lengths = np.sqrt(special.chdtri(float(width), levels))
    return np.concatenate(blocks, axis=1)[:, :count] * lengths


def _exact_frequencies(turns: F64) -> F64:
    """Rounded to the finest step at which no sum of products with rows can leave float32's exact integers."""
    bits = ceil(log2(max(float((CLIP * np.abs(turns)).sum(axis=0).max(initial=0.0)), 1.0)))
    while True:
        step = 2.0**bits * ROW_STEP / EXACT
        rounded = np.asarray(np.rint(turns / step) * step)
        if (CLIP * np.abs(rounded)).sum(axis=0).max(initial=0.0) <= 2.0**bits:
            return rounded
        bits += 1


def robust_scale(rows: F64) -> tuple[F64, F64]:
    """Median and IQR / 1.349 per column; the standard deviation where the IQR is 0, 1 where that is 0 too."""
    center, scale = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
    for j, finite in enumerate(finite_columns(rows)):
        if len(finite) == 0:
            continue
        low, center[j], high = quartiles(finite)
        spread = (high - low) / 1.349 or float(np.std(finite))
        scale[j] = spread if spread > 1e-12 * max(abs(center[j]), 1e-300) else max(abs(center[j]), 1.0)
    return center, scale


def standardised(rows: F64, center: F64, scale: F64) -> F64:
    """Rows (n, d) in robust units, clipped; a missing value stands at the centre (quality names it, not the kernel)."""
    units = np.subtract(rows, center)
    np.divide(units, scale, out=units)
    finite = np.isfinite(units)
    if not finite.all():
        units[~finite] = 0.0
    np.minimum(np.maximum(units, -CLIP, out=units), CLIP, out=units)
    return whole_steps(units, UNIT_STEP)


def whole_steps(units: F64, per_unit: float) -> F64:
    """Rounded to whole steps, in place. per_unit: a power of two, by which a product is as exact as a quotient."""
    np.rint(np.multiply(units, per_unit, out=units), out=units)
    return np.multiply(units, 1.0 / per_unit, out=units)


def evenly_spaced(rows: F64, most: int = 500) -> F64:
    """Up to `most` rows, spread over all of them."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(np.int64))] if len(rows) > 1 else rows


def median_distance(units: F64) -> float:
    """Median Euclidean distance between up to 500 evenly spaced rows; 1 where all are equal."""
    if len(units) < 2:
        return 1.0
    some = evenly_spaced(units)
    squared = (some**2).sum(axis=1)
    pairs = squared[:, None] + squared[None, :] - 2 * some @ some.T
    distance = float(np.sqrt(np.median(np.maximum(pairs[np.triu_indices(len(some), 1)], 0.0))))
    return distance if distance > 1e-6 else 1.0


@dataclass(frozen=True, slots=True)
class FourierMap:
    """A schema made ready: lowest (d, D/2/octaves) in turns per step of a row, float32 (old baselines: float64)."""

    center: F64
    scale: F64
    lowest: NDArray[Any]
    octaves: int
    row_step: float

    @classmethod
    def of_schema(cls, schema: Arrays) -> Self:
        """What `fit_fourier` fixed, now or in a version before."""
        center, scale, frequencies = (
            np.asarray(schema[k], np.float64) for k in ("center", "scale", "frequencies")
        )
        if "octaves" not in schema:
            return cls(center, scale, frequencies / OLD_ROW_STEP, 1, OLD_ROW_STEP)
        octaves = int(schema["octaves"][0])
        lowest = frequencies[:, : frequencies.shape[1] // octaves] / ROW_STEP
        return cls(center, scale, lowest.astype(np.float32), octaves, ROW_STEP)

    def sums(self, rows: F64) -> F64:
        """(D,) sums over rows of cosines, then sines, in units of sqrt(D/2) phi; exact, hence additive to the bit."""
        count = self.lowest.shape[1]
        total = np.zeros((2, self.octaves, count), np.int64)
        step = min(max(CELLS // max(count, 1), 8), _MOST_ROWS)
        for start in range(0, len(rows), step):
            turns = self._steps(rows[start : start + step]) @ self.lowest
            np.subtract(turns, np.rint(turns), out=turns)
            cosine, sine = _twice_cosine_and_sine(turns.astype(np.float32, copy=False))
            for octave in range(self.octaves):
                if octave:
                    np.multiply(sine, cosine, out=sine)
                    np.subtract(np.multiply(cosine, cosine, out=cosine), np.float32(2), out=cosine)
                total[0, octave] += _exact_sum(cosine)
                total[1, octave] += _exact_sum(sine)
        return np.asarray(total.reshape(-1) / 2.0**16)

    def _steps(self, rows: F64) -> NDArray[Any]:
        """Rows in whole steps of their robust units, clipped; a missing value stands at the centre."""
        units = np.divide(np.subtract(rows, self.center), self.scale).astype(self.lowest.dtype, copy=False)
        finite = np.isfinite(units)
        if not finite.all():
            units[~finite] = 0.0
        np.minimum(np.maximum(units, -CLIP, out=units), CLIP, out=units)
        return np.asarray(np.rint(np.multiply(units, self.row_step, out=units), out=units))


def _twice_cosine_and_sine(turns: F32) -> tuple[F32, F32]:
    """2 cos and 2 sin of 2 pi turns, for |turns| <= 1/2: additions and products only, alike everywhere."""
    quarter = np.subtract(np.float32(0.25), np.abs(turns))
    cosine = _twice_sine(quarter)
    np.subtract(np.float32(0.25), np.abs(quarter, out=quarter), out=quarter)
    return cosine, _twice_sine(np.copysign(quarter, turns, out=quarter))


def _twice_sine(turns: F32) -> F32:
    """2 sin(2 pi turns) for |turns| <= 1/4."""
    squared = turns * turns
    series = squared * _TWICE[3]
    for coefficient in (_TWICE[2], _TWICE[1]):
        np.add(series, coefficient, out=series)
        np.multiply(series, squared, out=series)
    np.add(series, _TWICE[0], out=series)
    np.multiply(series, turns, out=series)
    return series


def _exact_sum(twice: F32) -> NDArray[np.int32]:
    """Half the sum over rows in steps of 2**-16, integers that wrap around and come back."""
    bits = np.add(twice, _ROUNDER).view(np.int32)
    rounders = np.array(len(twice) * _ROUNDER_BITS & 0xFFFFFFFF, np.uint32).view(np.int32)
    return np.asarray(np.add.reduce(bits, axis=0, dtype=np.int32) - rounders)
