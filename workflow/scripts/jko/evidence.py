"""A linear model with Gaussian noise and a Gaussian prior, whose scales come from the marginal likelihood.

For data D = X theta + noise, in units in which the noise is white, and theta_i ~ N(0, v_{g(i)}) with one variance
for each group g of coefficients, all that matters are gram = X^T X, moment = X^T D and
square = D^T D:

    posterior    N(P moment, P),    P = (gram + diag(1 / v))^{-1}
    evidence     -1/2 [square - moment^T P moment + log det(I + gram diag(v))]

(MacKay 1992; Rasmussen and Williams 2006, section 5.4), up to a constant that no theta and no v changes. For twice the negative log
of likelihood times prior is |D - X theta|^2 + sum_i (theta_i^2 / v_i + log v_i), and completing its square gives

    (theta - P moment)^T P^{-1} (theta - P moment) + square - moment^T P moment + log det diag(v),

whose first term is the posterior; its integral over theta adds log det P^{-1}, and det P^{-1} det diag(v) = det(I + gram diag(v)).

The evidence alone has its top at v = 0 for half of the groups that are about as large as the noise, and a group that is
switched off counts as known exactly. So every standard deviation v^{1/2} has a prior with a density in proportion to it, the
flat limit of the gamma distributions of shape 2 (Chung et al. 2013): 1/2 log v beside the evidence. A group without a trace
in the data then has the weight of one coefficient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize

# Bounds of log v: at the lower one a group is switched off, at the upper one its prior says nothing, and I + gram diag(v)
# still has a factor in float64.
LOWEST, _HIGHEST = -40.0, 9.0
_ITERATIONS = 50


class Posterior(NamedTuple):
    """What the data say of the coefficients.

    Attributes:
        mean: (p,). covariance: (p, p). log_variance: (groups,) log v. evidence: log, up to a constant.
        known: (groups,) how many coefficients of each group the data determine, sum_i 1 - P_ii / v_i.
    """

    mean: np.ndarray
    covariance: np.ndarray
    log_variance: np.ndarray
    evidence: float
    known: np.ndarray


def posterior(
    gram: np.ndarray, moment: np.ndarray, square: float, group: np.ndarray, log_variance: np.ndarray
) -> Posterior:
    """The posterior under given scales.

    Args:
        gram: (p, p). moment: (p,). square: (). group: (p,) the group of each coefficient, from 0 on.
        log_variance: (groups,).
    """
    root = np.exp(0.5 * log_variance)[group]
    factor = cholesky(np.eye(len(root)) + root[:, None] * gram * root[None, :], lower=True)
    half = solve_triangular(factor, np.diag(root), lower=True)  # P = half^T half
    covariance = half.T @ half
    seen = half @ moment
    evidence = -0.5 * (square - seen @ seen) - np.sum(np.log(np.diag(factor)))
    share = 1 - np.diag(covariance) / np.maximum(root**2, np.finfo(float).tiny)
    known = np.bincount(group, share, len(log_variance))
    return Posterior(half.T @ seen, covariance, log_variance, float(evidence), known)


def maximise(
    gram: np.ndarray,
    moment: np.ndarray,
    square: float,
    group: np.ndarray,
    start: np.ndarray,
    fixed: np.ndarray | None = None,
) -> Posterior:
    """The posterior under the most probable scales near ``start``.

    The slope of the evidence along log v_g is 1/2 sum_{i in g} [(theta_i^2 + P_ii) / v_g - 1], and that of its prior 1/2.

    Args:
        start: (groups,) log v. fixed: (groups,) bool, scales that stay as they are.
    """

    fixed = np.zeros(len(start), bool) if fixed is None else fixed

    def downhill(log_variance):
        found = posterior(gram, moment, square, group, log_variance)
        each = (found.mean**2 + np.diag(found.covariance)) * np.exp(-log_variance)[group] - 1
        slope = np.bincount(group, each, len(log_variance)) + ~fixed
        return -found.evidence - 0.5 * np.sum(log_variance[~fixed]), -0.5 * slope

    bounds = [
        (value, value) if stays else (LOWEST, _HIGHEST)
        for value, stays in zip(start, fixed, strict=True)
    ]
    options = {"maxiter": _ITERATIONS}
    best = minimize(downhill, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return posterior(gram, moment, square, group, best.x)
