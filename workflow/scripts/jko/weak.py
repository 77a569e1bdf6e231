"""The weak form of a population's flow: means of test functions, and what an energy says of them.

For a smooth test function phi and the flow dX = -grad(V + W * rho)(X) dt + sqrt(2 beta) dB,

    d/dt E[phi] = -E[grad phi . grad(V + W * rho)] + beta E[laplacian phi]              (weak Fokker-Planck)

is linear in V, W and beta, and asks for no pairs of particles and no density. Over one Euler step of length tau,
with T(x) = x - tau grad(V + W * rho_k)(x), it is exact:

    E_{k+1}[phi] = E_k[phi_s(T x)],    phi_s(x) = E[phi(x + sqrt(2 s) xi)],    s = tau beta,

where phi_s solves the heat equation d phi_s / ds = laplacian phi_s and has a closed form for the test functions here
(:func:`smoothed`). Put sample means for the expectations. With the right energy the residual

    r_k = mean_{x of k+1} phi(x) - mean_{x of k} phi_s(T x)

is sampling noise alone, r_k = e_{k+1}(phi) - e_k(phi_s o T), where the errors e_k of means over n_k particles have the covariance
Cov_k(phi, phi') = E_k[(phi - E_k phi)(phi' - E_k phi')] / n_k:

    Cov(r_k, r_k) = Cov_k(phi_s o T, phi'_s o T) + Cov_{k+1}(phi, phi'),
    Cov(r_k, r_{k+1}) = -Cov_{k+1}(phi, phi'_s o T).

With V = theta . psi (and W and beta likewise) what is predicted has the Jacobian X_k = -tau mean_x grad phi_s(T x) . grad psi(x)
with respect to theta, and tau mean_x laplacian phi_s(T x) with respect to beta; generalised least squares by the steps of
Gauss and Newton gives all coefficients.

**The samples see themselves.** X_k and r_k hold the same particles, and the score X^T S^{-1} r is not zero in the
mean even at the true energy: with x_i in both, its mean is the sum over i of the covariance of what x_i puts into
X and what it puts into r, a term of order m / n of the noise for m test functions. It pulls grad V and
beta away (beta by up to half its standard deviation). :func:`own_score` is that mean, which comes off as in a U-statistic:

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

Kin: the weak-form identification of mean-field equations (Messenger and Bortz 2022), and, for the
many moments that see their own noise, the bias of the generalised method of moments (Newey and Smith 2004).
All is in float64 and in standardised units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from scipy.linalg import cho_solve, cholesky, solve_triangular

# Share of a test function's variance that is added to it, so that bumps which overlap stay apart in float64.
_NUGGET = 1e-6
# Most numbers of a block of slopes: in 50 dimensions those of a whole snapshot would take half as much time again, to clear
# their memory.
_BLOCK = 2**21
# How far below zero s may go, as a share of the narrowest bump's sigma: it stays above -sigma / 4.
_SHARPEST = 1 / 16


class Population(NamedTuple):
    """The snapshots of one seed and what an energy's coefficients do to their particles.

    Attributes:
        clouds: K of (n_k, d). tau: (K-1,).
        fields: K-1 of (n_k, d, p), grad of the first variation at each particle for each coefficient.
        entropy: whether a last coefficient, beta, follows the p; coefficients are p or p + 1.
        kernels: chi, z (d,) -> (q,), whose mean slopes are the last q of the fields; None without an interaction.
    """

    clouds: Sequence[np.ndarray]
    tau: np.ndarray
    fields: Sequence[np.ndarray]
    entropy: bool
    kernels: Partial | None = None


class Noise(NamedTuple):
    """Covariance S of the residuals, as scale_i scale_j (L L^T)_ij, and the means' own parts.

    Attributes:
        scale: (N,). factor: (N, N) L. inverse: (N, N) S^{-1}. values: K of (n_k, m), phi less its mean.
    """

    scale: np.ndarray
    factor: np.ndarray
    inverse: np.ndarray
    values: Sequence[np.ndarray]


def smoothed(basis: Mapping, s: Array, z: Array) -> Array:
    """phi_s(z): (m,), the mean of every feature (:func:`jko.features.features`) at z (d,) + sqrt(2 s) xi, xi normal.

    For a power h_0 = 1, h_1 = z, h_{a+1} = z h_a + 2 s a h_{a-1} (heat polynomials); for a bump

        (sigma / (sigma + 4 s))^(d/2) exp(-|z - c|^2 / (sigma + 4 s)).

    s may be negative, above -sigma / 4.
    """
    power, place = _factors(basis["monomials"], z.size)
    powers = jax.vmap(_power, in_axes=(0, None, 0))(power, s, z[place])
    return jnp.concatenate([powers, _of_bumps(_bump, basis, s, z)])


def _factors(monomials, d):
    """Of every monomial the power and the coordinate of each of its factors: (p, width) both."""
    # One that stands more than once in its row has its power at the first place, and 0 at the others.
    same = monomials[:, :, None] == monomials[:, None, :]
    first = ~jnp.any(jnp.tril(same, -1), axis=2) & (monomials < d)
    return jnp.where(first, jnp.sum(same, axis=2), 0), jnp.minimum(monomials, d - 1)


def _power(power, s, y):
    """Product of the heat polynomials of y (width,), of the degrees in ``power``."""
    heat = [jnp.ones_like(y), y]
    for a in range(1, len(y)):
        heat.append(y * heat[a] + 2 * s * a * heat[a - 1])
    return jnp.prod(jnp.take_along_axis(jnp.stack(heat), power[None, :], axis=0))


def _bump(sigma, s, center, z):
    wide = sigma + 4 * s
    return (sigma / wide) ** (z.size / 2) * jnp.exp(-jnp.sum((z - center) ** 2) / wide)


def _of_bumps(function, basis, s, z):
    """A function with the arguments of :func:`_bump` for every bump."""
    sigma = jnp.broadcast_to(basis["sigma"], len(basis["centers"]))
    return jax.vmap(function, in_axes=(0, None, 0, None))(sigma, s, basis["centers"], z)


@jax.jit
def _values(basis, s, points):
    return jax.vmap(smoothed, in_axes=(None, None, 0))(basis, s, points)


@jax.jit
def _gradients(basis, s, points):
    # Backwards for each function, where d derivatives forwards would take d times as long.
    by_factor = jax.vmap(jax.grad(_power, argnums=2), in_axes=(0, None, 0))

    def one(z):
        power, place = _factors(basis["monomials"], z.size)
        row = jnp.arange(len(power))[:, None]
        powers = jnp.zeros((z.size, len(power))).at[place, row].add(by_factor(power, s, z[place]))
        bumps = _of_bumps(jax.grad(_bump, argnums=3), basis, s, z)
        # One row for each particle and coordinate: no product with them has to copy them.
        return jnp.concatenate([powers, bumps.T], axis=1)

    return jax.vmap(one)(points)


@jax.jit
def _laplacians(basis, s, points):
    # The heat equation: one derivative by s for d second ones by z.
    return jax.vmap(jax.jacfwd(smoothed, argnums=1), in_axes=(None, None, 0))(basis, s, points)


def values(basis: Mapping, cloud: np.ndarray, s: float = 0.0) -> np.ndarray:
    """phi_s at the particles of a cloud (n, d): (n, m), float64."""
    with jax.enable_x64(True):
        return np.asarray(_values(basis, np.float64(s), cloud))


def gradients(basis: Mapping, cloud: np.ndarray, s: float = 0.0) -> np.ndarray:
    """grad phi_s at the particles of a cloud (n, d): (n, d, m), float64."""
    with jax.enable_x64(True):
        return np.asarray(_gradients(basis, np.float64(s), cloud))


def laplacians(basis: Mapping, cloud: np.ndarray, s: float = 0.0) -> np.ndarray:
    """laplacian phi_s at the particles of a cloud (n, d): (n, m), float64."""
    with jax.enable_x64(True):
        return np.asarray(_laplacians(basis, np.float64(s), cloud))


def noise(population: Population, tests: Mapping, coefficients: np.ndarray) -> Noise:
    """Covariance of the residuals of all intervals, from the spread of the test functions in the snapshots.

    The inverse of a covariance of m functions estimated from n samples is too large by (n - 1) / (n - m - 2)
    (Hartlap, Simon and Schneider 2007), which is taken off.

    Args:
        tests: basis of phi. coefficients: of the energy whose T and s move the particles.

    Raises:
        ValueError: a snapshot has too few particles for so many test functions.
        LinAlgError: a test function is the same for all particles, or overflows.
    """
    m = len(tests["monomials"]) + len(tests["centers"])
    smallest = min(map(len, population.clouds))
    if smallest < m + 3:
        raise ValueError(
            f"a snapshot has {smallest} train particles, and {m} test functions need at least {m + 3}"
        )
    centred = [_centred(values(tests, cloud)) for cloud in population.clouds]
    intervals, beta = len(population.tau), bounded_beta(population, tests, coefficients)
    pushed = [
        _centred(values(tests, moved(population, k, coefficients), tau * beta))
        for k, tau in enumerate(population.tau)
    ]
    covariance = np.zeros((intervals, m, intervals, m))
    for k in range(intervals):
        covariance[k, :, k] = _covariance(pushed[k], pushed[k])
        covariance[k, :, k] += _covariance(centred[k + 1], centred[k + 1])
        if k + 1 < intervals:
            shared = _covariance(centred[k + 1], pushed[k + 1])
            covariance[k, :, k + 1], covariance[k + 1, :, k] = -shared, -shared.T
    covariance = covariance.reshape(intervals * m, intervals * m)
    scale = np.sqrt(np.diag(covariance))
    if not (np.isfinite(covariance).all() and (scale > 0).all()):
        raise np.linalg.LinAlgError(
            "a test function has no finite variance over the particles, or none at all"
        )
    covariance = covariance / scale[:, None] / scale[None, :]
    covariance[np.diag_indices(len(scale))] += _NUGGET
    factor = cholesky(covariance, lower=True)
    inverse = cho_solve((factor, True), np.eye(len(scale))) / scale[:, None] / scale[None, :]
    return Noise(scale, factor, inverse, centred)


def expected_square(white: Noise) -> float:
    """Mean of r^T S^{-1} r at the true energy: N, less what the nugget makes of the directions that it fills."""
    return len(white.scale) - _NUGGET * float(np.diag(white.inverse) @ white.scale**2)


def louder(white: Noise, level: float) -> Noise:
    """The same noise with ``level`` times the covariance."""
    return white._replace(scale=white.scale * np.sqrt(level), inverse=white.inverse / level)


def _centred(found):
    return found - found.mean(axis=0)


def _covariance(left, right):
    n, m = left.shape
    return left.T @ right / n / (n - m - 2)


def moved(population: Population, k: int, coefficients: np.ndarray) -> np.ndarray:
    """T x of every particle of snapshot k: (n_k, d)."""
    field = population.fields[k]
    return population.clouds[k] - population.tau[k] * (field @ coefficients[: field.shape[2]])


def bounded_beta(population: Population, tests: Mapping, coefficients: np.ndarray) -> float:
    """beta among the coefficients, 0 without an entropy; raised to where the narrowest bump can still be sharpened."""
    lowest = -_SHARPEST * np.min(tests["sigma"]) / np.max(population.tau)
    return max(float(coefficients[-1]), lowest) if population.entropy else 0.0


class Normal(NamedTuple):
    """The linearised problem in white units: gram (p, p), moment (p,), square (); residual: chi^2 of r."""

    gram: np.ndarray
    moment: np.ndarray
    square: float
    residual: float


def own_score(
    population: Population, tests: Mapping, white: Noise, coefficients: np.ndarray
) -> np.ndarray:
    """The mean of X^T S^{-1} r at the right coefficients, from what samples see of themselves: (p,)."""
    m = len(white.scale) // len(population.tau)
    beta = bounded_beta(population, tests, coefficients)
    own = np.zeros(len(coefficients))
    for k, tau in enumerate(population.tau):
        n, field = len(population.clouds[k]), population.fields[k]
        there = moved(population, k, coefficients)
        phi = values(tests, there, tau * beta)
        here = slice(k * m, (k + 1) * m)
        seen = (phi.mean(axis=0) - phi) @ white.inverse[here, here]
        if k:
            seen = seen + white.values[k] @ white.inverse[here, slice((k - 1) * m, k * m)].T
        share = np.zeros(field.shape[2])
        for rows, slope in _slopes(tests, there, tau * beta):
            pull = np.matmul(slope, seen[rows, :, None]).ravel()  # (rows d,)
            share -= tau * pull @ field[rows].reshape(len(pull), -1)
            if population.kernels is not None:
                cloud = population.clouds[k]
                as_partner = partner_score(population.kernels, cloud, cloud[rows], slope, seen)
                share[len(share) - len(as_partner) :] -= tau * as_partner
        if population.entropy:
            share = np.append(share, tau * np.sum(seen * laplacians(tests, there, tau * beta)))
        own += share / n / (n - 1)
    return own


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
    beta = bounded_beta(population, tests, coefficients)
    if population.entropy:
        coefficients = np.append(coefficients[:-1], beta)
    jacobian, residual = [], []
    for k, tau in enumerate(population.tau):
        field, there = population.fields[k], moved(population, k, coefficients)
        phi = values(tests, there, tau * beta)
        product = np.zeros((phi.shape[1], field.shape[2]))
        for rows, slope in _slopes(tests, there, tau * beta):
            by_place = slope.reshape(-1, len(product))
            product += by_place.T @ field[rows].reshape(len(by_place), -1)
        columns = [-tau / len(there) * product]
        if population.entropy:
            spread = laplacians(tests, there, tau * beta).mean(axis=0)
            columns.append(tau * spread[:, None])
        jacobian.append(np.concatenate(columns, axis=1))
        residual.append(values(tests, population.clouds[k + 1]).mean(axis=0) - phi.mean(axis=0))
    stacked = np.column_stack([np.concatenate(jacobian), np.concatenate(residual)])
    whitened = solve_triangular(white.factor, stacked / white.scale[:, None], lower=True)
    x, r = whitened[:, :-1], whitened[:, -1]
    gram, score = x.T @ x, x.T @ r - own
    moment = gram @ coefficients + score
    square = r @ r + coefficients @ (moment + score)
    return Normal(gram, moment, float(square), float(r @ r))


def _slopes(tests, cloud, s):
    """Rows of a cloud, some at a time, with the slopes of the test functions there."""
    m = len(tests["monomials"]) + len(tests["centers"])
    for rows in np.array_split(np.arange(len(cloud)), -(-cloud.size * m // _BLOCK)):
        rows = slice(rows[0], rows[-1] + 1)
        yield rows, gradients(tests, cloud[rows], s)


def mean_gradients(kernels: Partial, cloud: np.ndarray) -> np.ndarray:
    """Mean over the other particles y of a cloud (n, d) of grad chi(x - y), for each x: (n, d, q), float64.

    Args:
        kernels: chi, z (d,) -> (q,), even in z.
    """
    with jax.enable_x64(True):
        return np.asarray(_mean_gradients(kernels, jnp.asarray(cloud)))


@jax.jit
def _mean_gradients(kernels, cloud):
    def one(x):
        # The particle itself adds nothing: an even kernel has no slope at zero.
        pulls = jax.vmap(jax.jacfwd(kernels))(x[None, :] - cloud)  # (n, q, d)
        return jnp.sum(pulls, axis=0).T / (len(cloud) - 1)

    return jax.lax.map(one, cloud)


def partner_score(
    kernels: Partial, cloud: np.ndarray, points: np.ndarray, slope: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """sum_j v_j . sum_i grad phi(x_i) . grad chi(x_i - x_j) / (n - 1) over x_j of a cloud (n, d) and points x_i (b, d): (q,).

    Args:
        slope: (b, d, m) grad phi. seen: (n, m) v.
    """
    with jax.enable_x64(True):
        arrays = map(jnp.asarray, (cloud, points, slope, seen))
        return np.asarray(_partner_score(kernels, *arrays))


@jax.jit
def _partner_score(kernels, cloud, points, slope, seen):
    def add(total, row):
        x, slope_there = row
        pulls = jax.vmap(jax.jacfwd(kernels))(x[None, :] - cloud)  # (n, q, d)
        return total + jnp.einsum("jqd,jd->q", pulls, seen @ slope_there.T), None

    start = jnp.zeros(jax.eval_shape(kernels, cloud[0]).shape)
    return jax.lax.scan(add, start, (points, slope))[0] / (len(cloud) - 1)
