"""Densities of snapshots: Gaussian mixtures, with log-density and score evaluated in logs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

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
        relative_floor: added to every covariance's diagonal, as a share of the snapshot's mean variance
            per coordinate, so that no component collapses onto a few particles.

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


def save(mixtures: SnapshotMixtures, path: str | Path) -> None:
    """Write the named arrays to an npz file."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **mixtures._asdict())


def load(path: str | Path) -> SnapshotMixtures:
    """Read mixtures written by :func:`save`."""
    with np.load(path, allow_pickle=False) as file:
        return SnapshotMixtures(**{name: file[name] for name in SnapshotMixtures._fields})
