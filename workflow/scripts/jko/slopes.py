"""Slopes of many functions at many points, coordinate by coordinate: a monomial has none along coordinates that it does not hold.

In 50 dimensions nearly all slopes of monomials are zero; without them the normal equations of the weak form take a tenth of the time.
In numpy and float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag


class Slopes(NamedTuple):
    """grad f_j at n points of d dimensions, of p functions f = g M of the q functions g.

    Attributes:
        columns: for each of d coordinates, which g have a slope along it, (q_c,). values: that slope, d of (n, q_c).
        size: q. mix: (q, p) M, or None where f = g.
    """

    columns: Sequence[np.ndarray]
    values: Sequence[np.ndarray]
    size: int
    mix: np.ndarray | None = None


def of_all(gradients: np.ndarray) -> Slopes:
    """Functions that may have slopes along all coordinates: gradients (n, d, p)."""
    d, p = gradients.shape[1:]
    return Slopes([np.arange(p)] * d, list(np.moveaxis(gradients, 1, 0)), p)


def joined(first: Slopes, second: Slopes) -> Slopes:
    """The functions of both, at the same points."""
    columns = [
        np.append(one, first.size + other)
        for one, other in zip(first.columns, second.columns, strict=True)
    ]
    values = [
        np.concatenate(pair, axis=1) for pair in zip(first.values, second.values, strict=True)
    ]
    mixes = [np.eye(one.size) if one.mix is None else one.mix for one in (first, second)]
    return Slopes(columns, values, first.size + second.size, block_diag(*mixes))


def count(slopes: Slopes) -> int:
    """p."""
    return slopes.size if slopes.mix is None else slopes.mix.shape[1]


def at(slopes: Slopes, rows: slice) -> Slopes:
    """At some of the points."""
    return slopes._replace(values=[value[rows] for value in slopes.values])


def gradients(slopes: Slopes) -> np.ndarray:
    """grad f as one array: (n, d, p)."""
    found = np.zeros((len(slopes.values[0]), len(slopes.values), slopes.size))
    for c, (columns, value) in enumerate(zip(slopes.columns, slopes.values, strict=True)):
        found[:, c, columns] = value
    return mixed(slopes, found)


def combined(slopes: Slopes, coefficients: np.ndarray) -> np.ndarray:
    """sum_j a_j grad f_j, at every point with the same coefficients (p,) or with its own (n, p): (n, d)."""
    if slopes.mix is not None:
        coefficients = coefficients @ slopes.mix.T
    found = []
    for columns, value in zip(slopes.columns, slopes.values, strict=True):
        own = np.broadcast_to(coefficients[..., columns], value.shape)
        found.append(np.einsum("nq,nq->n", value, own))
    return np.stack(found, axis=1)


def weighted(slopes: Slopes, vectors: np.ndarray) -> np.ndarray:
    """sum_i v_i . grad f_j(x_i) over the points, with vectors (n, d): (p,)."""
    found = np.zeros(slopes.size)
    for vector, columns, value in zip(vectors.T, slopes.columns, slopes.values, strict=True):
        found[columns] += vector @ value
    return mixed(slopes, found)


def inner_products(left: Slopes, right: Slopes) -> np.ndarray:
    """sum_i grad f_j(x_i) . grad f'_k(x_i) over the points: (p, p')."""
    found = np.zeros((left.size, right.size))
    sides = zip(left.columns, left.values, right.columns, right.values, strict=True)
    for rows, one, columns, other in sides:
        found[np.ix_(rows, columns)] += one.T @ other
    return mixed(right, mixed(left, found.T).T)


def mixed(slopes: Slopes, sums: np.ndarray) -> np.ndarray:
    """Sums (.., p) of f from those (.., q) of g."""
    return sums if slopes.mix is None else sums @ slopes.mix
