"""Products of two coordinates that a potential needs: which ones the changes of their means ask for.

In d dimensions there are of order d^2 products x_i^a x_j^b, more than test functions have room for beside the powers
of single coordinates, and a potential of few neighbouring coordinates needs of order d of them. Each is asked by
itself, as test function and as part of V at once: where an energy with the step T (:mod:`jko.weak`) has been found, the
residuals of phi = x_i^a x_j^b in the K - 1 intervals are noise r with a covariance S, if V has no theta phi besides. If it
has, their mean is X theta,

    X_k = -tau mean_x grad phi_s(T x) . grad phi(x)

(half of it from either snapshot where half of the drift is), and the score test (Rao 1948) of theta = 0,

    (X^T S^{-1} r)^2 / (X^T S^{-1} X),

is chi^2 with one degree of freedom if theta is 0. That what was found depends on the same particles is left out. Of many
products of which V has none, p, the largest statistic stays below 2 log p in most draws (the universal threshold of Donoho
and Johnstone 1994): those above it are :func:`wanted`.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from jko import weak
from jko.features import polynomials

# Most values of some products at the particles of one snapshot; there are as many for each snapshot, twice, and slopes.
_BLOCK = 2**20
# Share of a variance that is added to it: a product that is 0 but in one snapshot has a covariance without an inverse.
_NUGGET = 1e-9


def products(d: int, degree: int) -> np.ndarray:
    """All products with i < j, a, b >= 1 and a + b <= degree: (p, 4), rows (i, j, a, b)."""
    powers = [(a, b) for a in range(1, degree) for b in range(1, degree - a + 1)]
    rows = [(*pair, *power) for pair in combinations(range(d), 2) for power in powers]
    return np.array(rows, dtype=np.int32).reshape(-1, 4)


def factors(rows: np.ndarray, d: int, width: int) -> np.ndarray:
    """Products (p, 4) as :func:`jko.features.monomials` lists them: (p, width), width at least their degree."""
    lists = [(i,) * a + (j,) * b + (d,) * (width - a - b) for i, j, a, b in rows]
    return np.array(lists, dtype=np.int32).reshape(-1, width)


def wanted(
    population: weak.Population,
    coefficients: np.ndarray,
    beta: float,
    rows: np.ndarray,
    among: int,
    misfit: float,
) -> np.ndarray:
    """The products, of rows (p, 4), that V needs: (q, 4), the surest first.

    Args:
        coefficients, beta: of the energy found without them.
        among: p of the threshold: those that V has already count too, as they were chosen from as many.
        misfit: chi^2 of that energy over its mean; above 1, residuals count as so much noisier.
    """
    if not len(rows):
        return rows
    found = statistics(population, coefficients, beta, rows) / max(1.0, misfit)
    order = np.argsort(-found)
    return rows[order[found[order] > 2 * np.log(among)]]


def statistics(
    population: weak.Population, coefficients: np.ndarray, beta: float, rows: np.ndarray
) -> np.ndarray:
    """The score test of each product of rows (p, 4): (p,).

    Args:
        coefficients: of the energy whose T moves the particles, and ``beta`` that of its entropy.
    """
    degree, clouds = int(np.max(rows[:, 2:])), population.clouds
    seen = [np.stack(polynomials(cloud, 0.0, degree)) for cloud in clouds]
    pairs = [
        [_Side(leg, _moved(population, leg, coefficients, seen, degree)) for leg in pair]
        for pair in weak.legs(population, beta)
    ]
    blocks = -(-len(rows) * max(map(len, clouds)) // _BLOCK)
    return np.concatenate([_score(pairs, seen, block) for block in np.array_split(rows, blocks)])


class _Side(NamedTuple):
    """A leg of an interval and the heat polynomials (degree + 1, n, d) of its moved particles."""

    leg: weak.Leg
    heat: np.ndarray


def _moved(population, leg, coefficients, seen, degree):
    if leg.step == 0 and leg.s == 0:
        return seen[leg.snapshot]
    moved = weak.moved(population, leg, coefficients)
    return np.stack(polynomials(moved, leg.s, degree))


def _values(heat, rows):
    """phi_s at the particles: (n, p), from heat polynomials (degree + 1, n, d)."""
    i, j, a, b = rows.T
    return (heat[a, :, i] * heat[b, :, j]).T


def _slopes(heat, rows):
    """Both slopes of phi_s that are not zero, along i and j: (n, p) each."""
    i, j, a, b = rows.T
    return (
        (a[:, None] * heat[a - 1, :, i] * heat[b, :, j]).T,
        (b[:, None] * heat[a, :, i] * heat[b - 1, :, j]).T,
    )


def _score(pairs, seen, rows):
    """The test from the sides of every interval and the heat polynomials of unmoved particles, K of (degree + 1, n_k, d)."""
    intervals = len(pairs)
    residual = np.zeros((intervals, len(rows)))
    slope, covariance = np.zeros_like(residual), np.zeros((len(rows), intervals, intervals))
    before = None
    for k, pair in enumerate(pairs):
        start, end = (_values(side.heat, rows) for side in pair)
        residual[k] = end.mean(axis=0) - start.mean(axis=0)
        for leg, heat in pair:
            if leg.step != 0:
                both = zip(_slopes(heat, rows), _slopes(seen[leg.snapshot], rows), strict=True)
                slope[k] += leg.sign * leg.step * sum(np.mean(a * b, axis=0) for a, b in both)
        spread = start.var(axis=0) / len(start) + end.var(axis=0) / len(end)
        covariance[:, k, k] = (1 + _NUGGET) * spread + np.finfo(float).tiny
        if k:
            both = np.mean((before - before.mean(axis=0)) * start, axis=0) / len(start)
            covariance[:, k - 1, k] = covariance[:, k, k - 1] = -both
        before = end
    weight = np.linalg.solve(covariance, slope.T[:, :, None])[:, :, 0]  # (p, K-1)
    known = np.sum(weight * slope.T, axis=1)
    # What no particle sees has no slope, and nothing is known of it.
    return np.where(
        known > 0, np.sum(weight * residual.T, axis=1) ** 2 / np.where(known > 0, known, 1), 0
    )
