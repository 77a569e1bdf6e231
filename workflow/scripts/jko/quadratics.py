"""A quadratic loss by its normal equations, and its minimiser with a ridge and one sign constraint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve


class Quadratic(NamedTuple):
    """The loss theta^T gram theta - 2 theta . moment + constant, as sums over
    data of total ``mass``.

    theta is made of groups of entries, for each of which the methods take its size and its ridge; one
    more entry behind them, if there is one, has no ridge and must not be negative.
    """

    gram: np.ndarray
    moment: np.ndarray
    constant: float
    mass: float

    def __add__(self, other: Quadratic) -> Quadratic:
        return Quadratic(*(a + b for a, b in zip(self, other, strict=True)))

    def penalised(self, groups: Sequence[tuple[int, float]]) -> np.ndarray:
        """gram with the ridge of each group on its diagonal, times the mean diagonal there,
        so that a ridge means the same for every set of features.
        """
        level, start = np.zeros(len(self.gram)), 0
        for size, ridge in groups:
            part = slice(start, start + size)
            level[part] = ridge * np.mean(np.diag(self.gram)[part])
            start += size
        return self.gram + np.diag(level)

    def minimiser(self, groups: Sequence[tuple[int, float]]) -> np.ndarray:
        """theta of least loss and ridge, by Cholesky.

        The sum of both is convex. If its free minimiser has a negative last entry, the least
        value under the constraint is on its boundary: at the minimiser with the entry zero.

        Raises:
            LinAlgError: the equations are not finite, or singular in float64 at these ridges.
        """
        if not (np.isfinite(self.gram).all() and np.isfinite(self.moment).all()):
            raise np.linalg.LinAlgError("the normal equations are not finite")
        matrix, ridged = self.penalised(groups), sum(size for size, _ in groups)
        try:
            theta = cho_solve(cho_factor(matrix), self.moment)
            if len(theta) > ridged and theta[-1] < 0:
                theta = np.zeros(len(matrix))
                if ridged:
                    factor = cho_factor(matrix[:ridged, :ridged])
                    theta[:ridged] = cho_solve(factor, self.moment[:ridged])
        except np.linalg.LinAlgError as error:
            ridges = " and ".join(f"{ridge:g}" for _, ridge in groups)
            raise np.linalg.LinAlgError(
                f"the normal equations are singular in float64 at ridge {ridges or 'none'}"
            ) from error
        return theta

    def loss(self, theta: np.ndarray) -> float:
        """Mean of the loss under theta."""
        return (
            float(theta @ self.gram @ theta - 2 * theta @ self.moment + self.constant) / self.mass
        )


def _unit_diagonal(gram: np.ndarray) -> np.ndarray:
    """The matrix in units in which its diagonal is 1, so that no unit of a feature counts."""
    diagonal = np.diag(gram)
    root = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    return gram / root[:, None] / root


def rank(gram: np.ndarray) -> int:
    """Eigenvalues of a symmetric matrix, its diagonal scaled to 1, that are above rounding."""
    values = np.linalg.eigvalsh(_unit_diagonal(gram))
    return int(np.sum(values > values[-1] * len(values) * np.finfo(float).eps))


def condition(gram: np.ndarray) -> float:
    """Condition number of a symmetric matrix, its diagonal scaled to 1."""
    return float(np.linalg.cond(_unit_diagonal(gram)))
