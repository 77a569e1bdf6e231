"""The weak form of a population's flow: means of test functions, and what an energy says of them.

For a smooth test function phi and the flow dX = -grad(V + W * rho)(X) dt + sqrt(2 beta) dB,

    d/dt E[phi] = -E[grad phi . grad(V + W * rho)] + beta E[laplacian phi]              (weak Fokker-Planck)

is linear in V, W and beta, and asks for no pairs of particles and no density. It is the mean of Ito's formula,

    d phi(X) = grad phi . dX + 1/2 (2 beta) laplacian phi dt,    dX = -grad(V + W * rho) dt + sqrt(2 beta) dB,

whose term with dB has mean zero.

**One Euler step** of length tau, X' = T(X) + sqrt(2 s) xi with T(x) = x - tau grad(V + W * rho_k)(x), s = tau beta and a standard
normal xi that knows nothing of X, has an exact form. The mean over xi first, and then over X:

    E_{k+1}[phi] = E_k[phi_s(T x)],    phi_s(x) = E[phi(x + sqrt(2 s) xi)].

By parts, d phi_s / ds = E[grad phi . xi] / sqrt(2 s) = E[laplacian phi(x + sqrt(2 s) xi)] = laplacian phi_s: the heat equation, with a
closed form for the test functions here (:mod:`jko.heat`). To first order in tau it is the line above.

**Noise.** Put sample means for the expectations, E_k[f] = mean_{x of k} f(x) - e_k(f). The errors e_k of n_k independent particles
have mean zero and Cov(e_k(f), e_k(g)) = Cov_k(f, g) = E_k[(f - E_k f)(g - E_k g)] / n_k, and those of two snapshots are
independent. With the right energy the expectations cancel in the residual

    r_k = mean_{x of k+1} phi(x) - mean_{x of k} phi_s(T x) = e_{k+1}(phi) - e_k(phi_s o T),

and r_k and r_{k+1} share the particles of snapshot k+1, with opposite signs:

    Cov(r_k, r_k) = Cov_k(phi_s o T, phi'_s o T) + Cov_{k+1}(phi, phi'),
    Cov(r_k, r_{k+1}) = -Cov_{k+1}(phi, phi'_s o T).

**Least squares.** With V = theta . psi (and W and beta likewise) what is predicted has the Jacobian X_k = -tau mean_x grad phi_s(T x) .
grad psi(x) with respect to theta, by the chain rule with dT / dtheta = -tau grad psi, and tau mean_x laplacian phi_s(T x) with
respect to beta. At other coefficients theta' the residual is r - X (theta' - theta) to first order, so that D = r + X theta is
X theta' and noise with the covariance S: generalised least squares, whose prior and scales are those of :mod:`jko.evidence`. Its
solution is the next theta of Gauss and Newton.

**Time.** Where the data are no Euler steps, half of the drift goes to either snapshot (``forward`` 1/2),

    E_{k+1}[phi(x + tau/2 grad(V + W * rho_{k+1})(x))] = E_k[phi_s(x - tau/2 grad(V + W * rho_k)(x))] + O(tau^3),

half a step of drift, all of the noise, half a step of drift: the splitting of Strang (1968). Its drift from either side
misses the place of the flow in the middle by tau^2 / 8 times the acceleration, and so by next to the same. Every formula here
holds with the means of both legs of an interval, r_k = sum_legs sign mean phi_s(x - step grad(V + W * rho)(x)).

**The samples see themselves.** X_k and r_k hold the same particles, and the score X^T S^{-1} r is not zero in the
mean even at the true energy: with x_i in both, its mean is the sum over i of the covariance of what x_i puts into
X and what it puts into r, a term of order m / n of the noise for m test functions. It pulls grad V and
beta away (beta by up to half its standard deviation). :func:`own_score` is that mean, which comes off as in a U-statistic: of two
means over n particles the covariance is that of what one particle puts into each, over n, with its estimate that divides by n - 1:

    sum_i (a_i - a)^T (v_i - v) / (n (n - 1)),    v_i = S^{-1}_{k,k-1} phi(x_i) - S^{-1}_{k,k} phi_s(T x_i),

with a_i = -tau grad phi_s(T x_i) . grad psi(x_i) the share of x_i in X_k. It grows with the coefficients: taken anew in every
step of Newton it would drive those that the data do not know away, so that it is taken at one place for all steps.

With W a particle x_j stands in X_k a second time, among the partners of all others, with the share
b_j = -tau / (n - 1) sum_i grad phi_s(T x_i) . grad chi(x_i - x_j), and b_j - b belongs beside a_j - a above; what the
error of that mean adds to the residuals themselves, S does not count. Snapshots must not be paired:
their means would share most of their errors, and S would be far too large.

**What stays.** S is estimated from the same particles too, and where beta is not zero this draws its estimate
towards zero, in inverse proportion to the particles, with deviations up to twice those of the posterior. An S of other
particles leaves no such bias and twice the spread, as S is close to singular. Beside W, where grad V and grad W * rho all but cancel,
X is mostly its own sampling noise, which X^T S^{-1} X counts as information: there the posterior is too narrow, and beta with it.

Kin: the weak-form identification of mean-field equations (Messenger and Bortz 2022), the kernels of interactions and of gradient
flows learned from densities by weak forms (Lang and Lu 2022; Gao, Lang and Lu 2024), and, for the many moments that see their own
noise, the bias of the generalised method of moments (Newey and Smith 2004).
All is in float64 and in standardised units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from jko import heat, pulls
from jko.slopes import Slopes, at, combined, count, inner_products, mixed, weighted

# Share of a test function's variance that is added to it, so that bumps which overlap stay apart in float64.
NUGGET = 1e-6
# Most numbers of a block of slopes, to bound their memory.
_BLOCK = 2**21


class Population(NamedTuple):
    """The snapshots of one seed and what an energy's coefficients do to their particles.

    Attributes:
        clouds: K of (n_k, d). tau: (K-1,).
        fields: of each snapshot whose particles move, grad of the first variation at them for each of p coefficients.
        entropy: whether a last coefficient, beta, follows the p; coefficients are p or p + 1.
        kernel: of W, whose pulls (:mod:`jko.pulls`) are the last of the fields; None without an interaction.
        forward: above 0 and at most 1, the share of the drift that the snapshot before an interval takes.
    """

    clouds: Sequence[np.ndarray]
    tau: np.ndarray
    fields: Sequence[Slopes]
    entropy: bool
    kernel: Mapping | None = None
    forward: float = 1.0


class Noise(NamedTuple):
    """Covariance S of the residuals, as scale_i scale_j (L L^T)_ij.

    Attributes:
        scale: (N,). factor: (N, N) L. inverse: (N, N) S^{-1}. gone: how many residuals say nothing.
        filled: (N,) what of the variances no residual has.
    """

    scale: np.ndarray
    factor: np.ndarray
    inverse: np.ndarray
    gone: int = 0
    filled: np.ndarray | float = 0.0


def noise(
    population: Population, tests: Mapping, coefficients: np.ndarray, nugget: float = NUGGET
) -> Noise:
    """Covariance of the residuals of all intervals, from the spread of the test functions in the snapshots.

    The inverse of a covariance of m functions estimated from n samples is too large by (n - 1) / (n - m - 2)
    (Hartlap, Simon and Schneider 2007), which is taken off.

    Args:
        tests: basis of phi. coefficients: of the energy whose T and s move the particles.
        nugget: the share of each variance that is added to it.

    Raises:
        ValueError: a snapshot has too few particles for so many test functions.
        LinAlgError: a test function is the same for all particles, or overflows.
    """
    m = heat.count(tests)
    smallest = min(map(len, population.clouds))
    if smallest < m + 3:
        raise ValueError(
            f"a snapshot has {smallest} train particles, and {m} test functions need at least {m + 3}"
        )
    intervals, beta = len(population.tau), bounded_beta(population, tests, coefficients)
    start, end = (
        [_centred(heat.values(tests, moved(population, leg, coefficients), leg.s)) for leg in side]
        for side in zip(*legs(population, beta), strict=True)
    )
    covariance = np.zeros((intervals, m, intervals, m))
    for k in range(intervals):
        covariance[k, :, k] = _covariance(start[k], start[k]) + _covariance(end[k], end[k])
        if k + 1 < intervals:
            shared = _covariance(end[k], start[k + 1])
            covariance[k, :, k + 1], covariance[k + 1, :, k] = -shared, -shared.T
    return factored(covariance.reshape(intervals * m, intervals * m), nugget)


def factored(covariance: np.ndarray, nugget: float = NUGGET) -> Noise:
    """The noise with a covariance (N, N) of the residuals, and so large a share of each variance besides.

    Raises:
        LinAlgError: a variance is not finite, or not above zero.
    """
    scale = np.sqrt(np.diag(covariance))
    if not (np.isfinite(covariance).all() and (scale > 0).all()):
        raise np.linalg.LinAlgError(
            "a test function has no finite variance over the particles, or none at all"
        )
    covariance = covariance / scale[:, None] / scale[None, :]
    covariance[np.diag_indices(len(scale))] += nugget
    factor = cholesky(covariance, lower=True)
    inverse = cho_solve((factor, True), np.eye(len(scale))) / scale[:, None] / scale[None, :]
    return Noise(scale, factor, inverse, filled=nugget * scale**2)


def covariance_of(white: Noise) -> np.ndarray:
    """S: (N, N)."""
    root = white.scale[:, None] * white.factor
    return root @ root.T


def expected_square(white: Noise) -> float:
    """Mean of r^T S^{-1} r at the true energy: N that say something, less what the nugget makes of the directions that it fills."""
    return len(white.scale) - white.gone - float(np.sum(white.filled * np.diag(white.inverse)))


def _centred(found):
    return found - found.mean(axis=0)


def _covariance(left, right):
    n, m = left.shape
    return left.T @ right / n / (n - m - 2)


class Leg(NamedTuple):
    """One of the two means of an interval's residual: sign mean phi_s(x - step grad(V + W * rho)(x)) over a snapshot.

    Attributes:
        interval, snapshot: their numbers. sign: +1 or -1. step: signed, of the drift. s: of the smoothing, by_beta: its
            derivative with respect to beta.
    """

    interval: int
    snapshot: int
    sign: int
    step: float
    s: float
    by_beta: float


def legs(population: Population, beta: float) -> list[tuple[Leg, Leg]]:
    """Start and end of every interval."""
    forward = population.forward
    return [
        (
            Leg(k, k, -1, forward * tau, tau * beta, tau),
            Leg(k, k + 1, 1, (forward - 1) * tau, 0.0, 0.0),
        )
        for k, tau in enumerate(population.tau)
    ]


def moved(population: Population, leg: Leg, coefficients: np.ndarray) -> np.ndarray:
    """x - step grad(V + W * rho)(x) of every particle of a snapshot: (n_k, d)."""
    cloud = population.clouds[leg.snapshot]
    if leg.step == 0:
        return cloud
    field = population.fields[leg.snapshot]
    return cloud - leg.step * combined(field, coefficients[: count(field)])


def bounded_beta(population: Population, tests: Mapping, coefficients: np.ndarray) -> float:
    """beta among the coefficients, 0 without an entropy; raised to where the narrowest bump and wave can still be sharpened."""
    lowest = heat.lowest(tests) / np.max(population.tau)
    return max(float(coefficients[-1]), lowest) if population.entropy else 0.0


class Normal(NamedTuple):
    """The linearised problem in white units: gram (p, p), moment (p,), square (); residual: chi^2 of r."""

    gram: np.ndarray
    moment: np.ndarray
    square: float
    residual: float


def own_score(
    population: Population,
    tests: Mapping,
    white: Noise,
    coefficients: np.ndarray,
    partners: np.ndarray,
) -> np.ndarray:
    """The mean of X^T S^{-1} r at the right coefficients, from what samples see of themselves: (p,).

    Args:
        partners: (q,) of :func:`partner_score` with the same noise and coefficients.
    """
    own = np.zeros(len(coefficients))
    for leg, there, seen in _seen(population, tests, white, coefficients):
        share = np.zeros(len(coefficients) - population.entropy)
        if leg.step != 0:
            field = population.fields[leg.snapshot]
            for rows, slope in slopes(tests, there, leg.s):
                share += leg.step * weighted(at(field, rows), combined(slope, seen[rows]))
        if population.entropy:
            spread = _laplacians(tests, leg, there)
            share = np.append(share, -np.sum(seen * spread))
        n = len(there)
        own += leg.sign * share / n / (n - 1)
    if population.kernel is not None:
        last = len(own) - population.entropy
        own[last - pulls.count(population.kernel) : last] += partners
    return own


def partner_score(
    population: Population, tests: Mapping, white: Noise, coefficients: np.ndarray
) -> np.ndarray:
    """What particles as partners of others have of :func:`own_score`: (q,) for the chi of W, (0,) without an interaction.

    It takes all pairs of particles, and V by the places alone that the particles are moved to.
    """
    if population.kernel is None:
        return np.zeros(0)
    own = np.zeros(pulls.count(population.kernel))
    for leg, there, seen in _seen(population, tests, white, coefficients):
        cloud, n = population.clouds[leg.snapshot], len(there)
        if leg.step != 0:
            for rows, slope in slopes(tests, there, leg.s):
                pulled = pulls.weighted_gradients(
                    population.kernel, cloud, cloud[rows], slope, seen
                )
                own += leg.sign * leg.step * pulled / n / (n - 1)
    return own


def _seen(population, tests, white, coefficients):
    """Yields each leg by which particles move or spread, their places (n, d), and the v_i of each of them: (n, m)."""
    m = len(white.scale) // len(population.tau)
    placed = [one for pair in _placed(population, tests, coefficients) for one in pair]
    centred = [_centred(heat.values(tests, there, leg.s)) for leg, there in placed]
    for leg, there in placed:
        if leg.step == 0 and leg.by_beta == 0:
            continue
        seen = np.zeros((len(there), m))
        for (other, _), phi in zip(placed, centred, strict=True):
            if other.snapshot == leg.snapshot:
                block = np.ix_(*(range(k * m, k * m + m) for k in (other.interval, leg.interval)))
                seen += other.sign * phi @ white.inverse[block]
        yield leg, there, seen


def residuals(population: Population, tests: Mapping, coefficients: np.ndarray) -> np.ndarray:
    """r of all intervals under an energy: (N,)."""
    return _residuals(tests, _placed(population, tests, coefficients))


def _placed(population, tests, coefficients):
    """Both legs of every interval, each with the places (n_k, d) that it moves its particles to."""
    return [
        [(leg, moved(population, leg, coefficients)) for leg in pair]
        for pair in legs(population, bounded_beta(population, tests, coefficients))
    ]


def _residuals(tests, placed):
    return np.concatenate(
        [
            sum(leg.sign * heat.values(tests, there, leg.s).mean(axis=0) for leg, there in pair)
            for pair in placed
        ]
    )


def normal_equations(
    population: Population,
    tests: Mapping,
    white: Noise,
    coefficients: np.ndarray,
    own: np.ndarray,
) -> Normal:
    """The least squares problem linearised at given coefficients, less the ``own`` part of the score.

    Its solution, with any prior, is the next iterate of Gauss and Newton.
    """
    placed = _placed(population, tests, coefficients)
    if population.entropy:
        beta = bounded_beta(population, tests, coefficients)
        coefficients = np.append(coefficients[:-1], beta)
    jacobian = [
        sum(leg.sign * _mean_slopes(population, tests, leg, there) for leg, there in pair)
        for pair in placed
    ]
    stacked = np.column_stack([np.concatenate(jacobian), _residuals(tests, placed)])
    whitened = solve_triangular(white.factor, stacked / white.scale[:, None], lower=True)
    x, r = whitened[:, :-1], whitened[:, -1]
    gram, score = x.T @ x, x.T @ r - own
    moment = gram @ coefficients + score
    square = r @ r + coefficients @ (moment + score)
    return Normal(gram, moment, float(square), float(r @ r))


def _mean_slopes(population, tests, leg, there):
    """What the residual loses with each coefficient, for a leg of sign 1: (m, p), or (m, p + 1) with beta."""
    n, m = len(there), heat.count(tests)
    total = np.zeros((m, count(population.fields[0])))
    if leg.step != 0:
        field = population.fields[leg.snapshot]
        plain = field._replace(mix=None)
        parts = (
            inner_products(slope, at(plain, rows)) for rows, slope in slopes(tests, there, leg.s)
        )
        total = leg.step * mixed(field, sum(parts))
    if population.entropy:
        spread = _laplacians(tests, leg, there)
        total = np.column_stack([total, -np.sum(spread, axis=0)])
    return total / n


def _laplacians(tests, leg, there):
    """d phi_s / d beta at the particles of a leg: (n, m)."""
    if leg.by_beta == 0:
        return np.zeros((len(there), heat.count(tests)))
    return leg.by_beta * heat.laplacians(tests, there, leg.s)


def slopes(tests, cloud, s):
    """Rows of a cloud, some at a time, with the slopes of the test functions there."""
    d = cloud.shape[1]
    waves = np.count_nonzero(heat.waves_of(tests))
    numbers = np.sum(tests["monomials"] < d) + d * len(tests["centers"]) + 2 * waves
    for rows in np.array_split(np.arange(len(cloud)), -(-len(cloud) * numbers // _BLOCK)):
        rows = slice(rows[0], rows[-1] + 1)
        yield rows, heat.slopes(tests, cloud[rows], s)
