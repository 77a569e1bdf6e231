"""Densities of snapshots: Gaussian mixtures, with log-density and score, in logs; and entropy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.spatial import cKDTree
from scipy.special import digamma, gammaln

from jko.files import atomic_path
from jko.snapshots import Snapshots


class Mixture(NamedTuple):
    """sum_c weight_c N(mean_c, L_c L_c^T).

    Attributes:
        log_weight: (c,). mean: (c, d). cholesky: (c, d, d), lower triangular L_c.
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

    return jax.nn.logsumexp(jax.vmap(component)(*mixture))


def score(mixture: Mixture, x: Array) -> Array:
    """grad log rho(x) for x (d,): (d,), 1 / length."""
    return jax.grad(log_density, argnums=1)(mixture, x)


class SnapshotMixtures(NamedTuple):
    """One Gaussian mixture per seed and snapshot, of the train particles.

    Attributes:
        seed: (S,). time: (K,). weight: (S, K, C). mean: (S, K, C, d). covariance: (S, K, C, d, d).
    """

    seed: np.ndarray
    time: np.ndarray
    weight: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    def mixture(self, s: int, k: int) -> Mixture:
        """The mixture of snapshot ``k`` under the ``s``-th seed."""
        return Mixture(
            jnp.log(jnp.asarray(self.weight[s, k])),
            jnp.asarray(self.mean[s, k]),
            jnp.asarray(np.linalg.cholesky(self.covariance[s, k])),
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


def estimate(snapshots: Snapshots, settings: Mapping, report=print) -> SnapshotMixtures:
    """The densities that ``settings`` describe: their ``kind`` is gmm."""
    options = {name: value for name, value in settings.items() if name != "kind"}
    match settings["kind"]:
        case "gmm":
            return fit_mixtures(snapshots, report=report, **options)
        case kind:
            raise ValueError(f"density kind is {kind!r}; it must be gmm")


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
