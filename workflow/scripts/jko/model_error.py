"""What no energy explains: a term beside the sampling noise of the weak form's residuals.

Cells need not follow one gradient flow. Where the best energy leaves residuals r many times as large as their noise S
(:mod:`jko.weak`), least squares in units of S bends it to the few combinations of test functions that are known best, whatever they
say of the population. So let each interval have besides a velocity u_k of its own, which no energy knows of (the model
discrepancy of Kennedy and O'Hagan 2001). To first order it moves the mean of phi by tau_k E[grad phi . u_k], and for u_k
with the same variance delta^2 in every direction of the span of the slopes grad phi, in L2 of the population,

    Cov(r_k, r_k) = S_kk + delta^2 M_kk,    M_kk = tau_k^2 E_{k+1}[grad phi . grad phi'].

Where delta outweighs the noise, r^T M^{-1} r is the square of the smallest velocity that explains r, the norm of Otto's calculus
(2001) by which W2 measures small changes of a population. delta is where chi^2 of the residuals is its mean,
r^T (S + delta^2 M)^{-1} r = N less the coefficients that the data determine. The posterior is then as wide as such a velocity
makes it; of one in few directions, such as a shift of the whole population, delta is too small, and the posterior still too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import brentq

from jko import heat, weak
from jko.slopes import inner_products

# Between which log delta^2 is looked for, delta in widths of the population for each mean interval.
_SQUARES = -40.0, 20.0


def covariance(population: weak.Population, tests: Mapping) -> np.ndarray:
    """M of all intervals: (N, N), zero between two of them."""
    m, intervals = heat.count(tests), len(population.tau)
    found = np.zeros((intervals, m, intervals, m))
    for k, (tau, cloud) in enumerate(zip(population.tau, population.clouds[1:], strict=True)):
        parts = (inner_products(slope, slope) for _, slope in weak.slopes(tests, cloud, 0.0))
        found[k, :, k] = tau**2 / len(cloud) * sum(parts)
    return found.reshape(intervals * m, intervals * m)


def size(white: weak.Noise, missed: np.ndarray, residual: np.ndarray, free: float) -> float:
    """delta: 0 where the noise alone leaves residuals as large.

    Args:
        white: S. missed: M. residual: (N,) r. free: chi^2 in the mean.

    Raises:
        LinAlgError: residuals that are no numbers, or that no delta makes as small.
    """
    if not np.isfinite(residual).all():
        raise np.linalg.LinAlgError("the residuals of the train particles are not finite")
    half = _whitened(white, _whitened(white, missed).T)
    share, direction = np.linalg.eigh((half + half.T) / 2)
    square = (direction.T @ _whitened(white, residual)) ** 2

    def excess(log_square):
        return np.sum(square / (1 + np.exp(log_square) * np.maximum(share, 0))) - free

    if excess(-np.inf) <= 0:
        return 0.0
    if excess(_SQUARES[1]) > 0:
        raise np.linalg.LinAlgError("no velocity explains the residuals of the train particles")
    return float(np.exp(0.5 * brentq(excess, *_SQUARES)))


def added(white: weak.Noise, missed: np.ndarray) -> weak.Noise:
    """The noise S + missed."""
    found = weak.factored(weak.covariance_of(white) + missed)
    return found._replace(gone=white.gone, filled=found.filled + white.filled)


def square(white: weak.Noise, residual: np.ndarray) -> float:
    """chi^2 of residuals (N,): r^T S^{-1} r."""
    return float(np.sum(_whitened(white, residual) ** 2))


def log_determinant(white: weak.Noise) -> float:
    """log det S."""
    return 2 * float(np.sum(np.log(np.diag(white.factor))) + np.sum(np.log(white.scale)))


def _whitened(white, columns):
    """L^{-1} of columns (N,) or (N, q) in units of their scales."""
    return solve_triangular(white.factor, (columns.T / white.scale).T, lower=True)
