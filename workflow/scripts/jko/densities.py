"""Densities of snapshots: Gaussian mixtures, with log-density and score, in logs; and entropy.

A mixture has a few Gaussians fitted by expectation-maximisation (:func:`fit_mixtures`), or one of
the same shape around every train particle, a kernel density (:func:`fit_kernels`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import digamma, gammaln

from jko.files import atomic_path
from jko.snapshots import Snapshots

# Points whose scores are taken at once.
_BLOCK = 256


class Mixture(NamedTuple):
    """sum_c weight_c N(mean_c, L_c L_c^T).

    Attributes:
        log_weight: (c,). mean: (c, d). cholesky: (c, d, d), lower triangular L_c;
            (1, d, d) where all components share one.
    """

    log_weight: Array
    mean: Array
    cholesky: Array


def log_density(mixture: Mixture, x: Array) -> Array:
    """log rho(x) for x (d,), by log-sum-exp over the components: finite wherever x is."""

    def component(log_weight, mean, cholesky):
        z = jax.scipy.linalg.solve_triangular(cholesky, x - mean, lower=True)
        log_norm = jnp.sum(jnp.log(jnp.diagonal(cholesky))) + 0.5 * x.size * jnp.log(2 * jnp.pi)
        return log_weight - 0.5 * jnp.sum(z**2) - log_norm

    log_weight, mean, cholesky = mixture
    if len(cholesky) == 1:
        over_means = jax.vmap(component, in_axes=(0, 0, None))
        return jax.nn.logsumexp(over_means(log_weight, mean, cholesky[0]))
    return jax.nn.logsumexp(jax.vmap(component)(log_weight, mean, cholesky))


def score(mixture: Mixture, x: Array) -> Array:
    """grad log rho(x) for x (d,): (d,), 1 / length."""
    return jax.grad(log_density, argnums=1)(mixture, x)


class SnapshotMixtures(NamedTuple):
    """One Gaussian mixture per seed and snapshot, of the train particles.

    Attributes:
        seed: (S,). time: (K,). weight: (S, K, C). mean: (S, K, C, d). covariance: (S, K, C, d, d);
            (S, K, 1, d, d) where the components of a snapshot share one.
    """

    seed: np.ndarray
    time: np.ndarray
    weight: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    def mixture(self, s: int, k: int) -> Mixture:
        """The mixture of snapshot ``k`` under the ``s``-th seed."""
        held = self.weight[s, k] > 0
        cholesky = np.linalg.cholesky(self.covariance[s, k])
        return Mixture(
            jnp.log(jnp.asarray(self.weight[s, k][held])),
            jnp.asarray(self.mean[s, k][held]),
            jnp.asarray(cholesky if len(cholesky) == 1 else cholesky[held]),
        )


def fit_mixtures(
    snapshots: Snapshots, *, components: int, relative_floor: float, report=print
) -> SnapshotMixtures:
    """Fit a Gaussian mixture to each train snapshot of each seed by expectation-maximisation.

    Args:
        components: number of Gaussians; fewer than the particles of every train snapshot.
        relative_floor: added to every covariance's diagonal, as a share of the snapshot's mean
            variance per coordinate, so that no component collapses onto a few particles.

    Raises:
        ValueError: a snapshot has no more particles than components, or no extent.
        RuntimeError: expectation-maximisation did not converge.
    """
    from sklearn.mixture import GaussianMixture

    shape = (len(snapshots.seed), len(snapshots.time))
    d = snapshots.dimension
    weight = np.empty((*shape, components))
    mean = np.empty((*shape, components, d))
    covariance = np.empty((*shape, components, d, d))
    for s, k in np.ndindex(shape):
        cloud = snapshots.cloud(s, "train", k)
        if len(cloud) <= components:
            raise ValueError(
                f"snapshot {k} has {len(cloud)} train particles; {components} components need more"
            )
        floor = relative_floor * float(np.mean(np.var(cloud, axis=0)))
        if floor == 0:
            raise ValueError(
                f"all train particles of snapshot {k} stand on one point; a density needs an extent"
            )
        model = GaussianMixture(
            components,
            reg_covar=floor,
            max_iter=2000,
            random_state=int(snapshots.seed[s]),
        ).fit(cloud)
        if not model.converged_:
            raise RuntimeError(
                f"Gaussian mixture of snapshot {k}: EM did not converge in 2000 steps"
            )
        weight[s, k], mean[s, k], covariance[s, k] = (
            model.weights_,
            model.means_,
            model.covariances_,
        )
        report(
            f"seed {snapshots.seed[s]} snapshot {k}: mean log density {model.score(cloud):.4f}, "
            f"smallest weight {model.weights_.min():.3g}"
        )
    return SnapshotMixtures(snapshots.seed, snapshots.time, weight, mean, covariance)


def fit_kernels(
    snapshots: Snapshots, *, factors: Sequence[float], report=print
) -> SnapshotMixtures:
    """The kernel density of each train snapshot of each seed: N(x_i, h^2 Sigma) around every x_i.

    Sigma is the snapshot's covariance and h = factor (4 / (d + 4))^(1 / (d + 6)) n^(-1 / (d + 6)):
    factor 1 is best for the gradient of the density of a Gaussian (Chacon, Duong and Wand 2011,
    the normal reference rule of order one; Scott's n^(-1 / (d + 4)) is that of the density itself
    and too small here). Other populations need other factors; :func:`_score_mismatch` chooses one
    per snapshot, where every particle is judged by the others only.

    The density is one function of place: at a train particle it holds the particle's own kernel,
    whose gradient is zero there and which so pulls the score towards zero. Without it a lone
    particle would have the distance to its neighbour over h^2 for a score, without a bound.

    Raises:
        ValueError: the particles of a snapshot do not span all d dimensions.
    """
    shape = (len(snapshots.seed), len(snapshots.time))
    d = snapshots.dimension
    clouds = [snapshots.clouds(s, "train") for s in range(shape[0])]
    most = max(len(cloud) for of_seed in clouds for cloud in of_seed)
    # Snapshots of fewer particles are filled up with components of weight zero.
    weight, mean = np.zeros((*shape, most)), np.zeros((*shape, most, d))
    covariance = np.empty((*shape, 1, d, d))
    for s, k in np.ndindex(shape):
        cloud = clouds[s][k]
        n = len(cloud)
        sigma = np.atleast_2d(np.cov(cloud.T)) if n > 1 else np.zeros((d, d))
        if np.linalg.matrix_rank(sigma, hermitian=True) < d:
            raise ValueError(
                f"the {n} train particles of snapshot {k} span fewer than {d} dimensions; a kernel "
                "density needs an extent in each"
            )
        white = np.linalg.solve(np.linalg.cholesky(sigma), (cloud - cloud.mean(axis=0)).T).T
        rule = (4 / (d + 4)) ** (1 / (d + 6)) * n ** (-1 / (d + 6))
        mismatch = _score_mismatch(white, rule * np.asarray(factors, float))
        factor = factors[int(np.argmin(mismatch))]
        weight[s, k, :n], mean[s, k, :n] = 1 / n, cloud
        covariance[s, k, 0] = (factor * rule) ** 2 * sigma
        report(
            f"seed {snapshots.seed[s]} snapshot {k}: bandwidth {factor:g} x {rule:.4f}, "
            f"leave-one-out mismatch of the score {np.min(mismatch):.4f}"
        )
    return SnapshotMixtures(snapshots.seed, snapshots.time, weight, mean, covariance)


def _score_mismatch(z: np.ndarray, bandwidths: np.ndarray) -> np.ndarray:
    """E |s_h - s|^2 / 2 up to a constant, for the score s_h of each bandwidth h: (h,).

    Score matching (Hyvaerinen 2005): where the density vanishes at infinity, that is
    E [|s_h|^2 / 2 + div s_h], taken at every z_i (n, d) under the kernels of the others. With the
    shares w_j of these in the density at z_i,

        s_h = sum_j w_j (z_j - z_i) / h^2,    div s_h = sum_j w_j |z_j - z_i|^2 / h^4 - d / h^2 - |s_h|^2.
    """
    n, d = z.shape
    total = np.zeros(len(bandwidths))
    block = max(1, 2**22 // n)
    for start in range(0, n, block):
        rows = np.arange(start, min(start + block, n))
        squares = cdist(z[rows], z, "sqeuclidean")  # (b, n)
        squares[np.arange(len(rows)), rows] = np.inf
        nearest = squares.min(axis=1, keepdims=True)
        for q, h in enumerate(bandwidths):
            share = np.exp((nearest - squares) / (2 * h**2))
            share /= share.sum(axis=1, keepdims=True)
            # The particle itself has no share.
            spread = np.sum(share * np.where(np.isinf(squares), 0, squares), axis=1) / h**4
            score = (share @ z - z[rows]) / h**2
            total[q] += np.sum(spread - d / h**2 - np.sum(score**2, axis=1) / 2)
    return total / n


def scores(
    density: SnapshotMixtures, snapshots: Snapshots, s: int, k: np.ndarray, place: np.ndarray
) -> np.ndarray:
    """grad log rho_k at the train particles that :func:`jko.pairs.places` names:
    (p, d), 1 / length.
    """
    found = np.empty((len(k), snapshots.dimension), np.float32)
    for q in np.unique(k):
        cloud = jnp.asarray(snapshots.cloud(s, "train", q), jnp.float32)
        found[k == q] = np.asarray(_scores(density.mixture(s, q), cloud))[place[k == q]]
    return found


@jax.jit
def _scores(mixture, cloud):
    # In blocks of points: a kernel density has as many components as there are points.
    return jax.lax.map(partial(score, mixture), cloud, batch_size=_BLOCK)


def estimate(snapshots: Snapshots, settings: Mapping, report=print) -> SnapshotMixtures:
    """The densities that ``settings`` describe: their ``kind`` is gmm or kde."""
    options = {name: value for name, value in settings.items() if name != "kind"}
    match settings["kind"]:
        case "gmm":
            return fit_mixtures(snapshots, report=report, **options)
        case "kde":
            return fit_kernels(snapshots, report=report, **options)
        case kind:
            raise ValueError(f"density kind is {kind!r}; it must be gmm or kde")


def knn_entropy(x: np.ndarray, neighbours: int = 5) -> float:
    """Differential entropy H = -int rho log rho, in nats, of the law of a cloud x (n, d).

    H = psi(n) - psi(k) + log c_d + d mean_i log r_i, with r_i the distance from x_i to its k-th
    neighbour among the others, c_d = pi^(d/2) / Gamma(d/2 + 1) the volume of the unit ball and psi
    the digamma function: Kozachenko and Leonenko (1987) for k = 1, in the form of Kraskov,
    Stoegbauer and Grassberger (2004) for any k; k = 5 in ijkonet, appendix C.2.

    The density is taken as constant over each ball. Where it drops to zero at an edge the ball
    reaches outside, and H comes out too large by order n^(-1/d). Where it curves the error is of
    order n^(-2/d) and of either sign: negative for Gaussians in few dimensions. In many dimensions
    the balls are as wide as the cloud, and H is too large by several nats at any affordable n.

    Args:
        neighbours: k; at least 1 and fewer than the n points.

    Raises:
        ValueError: neighbours out of that range, or points that coincide with k others.
    """
    n, d = x.shape
    if not 1 <= neighbours < n:
        raise ValueError(
            f"entropy by {neighbours} neighbours of {n} points; "
            "neighbours must be at least 1 and fewer than the points"
        )
    # The nearest point to x_i in the tree is x_i itself.
    radius = cKDTree(x).query(x, k=[neighbours + 1])[0][:, 0]
    if not radius.all():
        raise ValueError(
            f"{np.sum(radius == 0)} of {n} points coincide with {neighbours} or more others; "
            "a density needs distinct points"
        )
    log_ball = 0.5 * d * np.log(np.pi) - gammaln(0.5 * d + 1)
    return float(digamma(n) - digamma(neighbours) + log_ball + d * np.mean(np.log(radius)))


def save(mixtures: SnapshotMixtures, path: str | Path) -> None:
    """Write the named arrays to an npz file."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **mixtures._asdict())


def load(path: str | Path) -> SnapshotMixtures:
    """Read mixtures written by :func:`save`."""
    with np.load(path, allow_pickle=False) as file:
        return SnapshotMixtures(**{name: file[name] for name in SnapshotMixtures._fields})
