"""The energy of a closed form: V = theta_V . phi and W = theta_W . psi by the features of :mod:`jko.features`.

    V(x) = scale theta_V . phi((x - center) / width),    W(z) = scale theta_W . psi(z / width)

W is :class:`jko.energies.Separable`, as psi is. It sees differences alone, so that its mean field counts places from the mean of
the population: the monomials of places far from zero would cancel to their rounding.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jko import features
from jko.energies import Energy, Separable, zero_energy
from jko.pairs import standardise


def potential(params: Mapping, x: Array, t: Array) -> Array:
    """V(x): () for x (d,); t is not used."""
    z, _ = standardise(params["units"], x, t)
    term = params["potential"]
    return params["units"]["scale"] * features.combination(term["theta"], term["basis"], z)


def interaction(params: Mapping, z: Array) -> Array:
    """W(z): () for the difference z (d,) of two particles."""
    term, units = params["interaction"], params["units"]
    values = features.kernel_features(term["basis"], z / units["width"])
    return units["scale"] * term["theta"] @ values


def mean_field(params: Mapping, cloud: Array) -> Partial:
    """The function x (d,) to (W * rho)(x) = scale theta_W . mean_y psi((x - y) / width), with y of a cloud (n, d)."""
    center, width = jnp.mean(cloud, axis=0), params["units"]["width"]
    z = jax.vmap(lambda y: (y - center) / width)(cloud)
    means = features.cloud_means(params["interaction"]["basis"], z, len(z))
    return Partial(_at, params, means, center)


def _at(params, means, center, x):
    term, units = params["interaction"], params["units"]
    values = features.mean_features(term["basis"], means, (x - center) / units["width"])
    return units["scale"] * term["theta"] @ values


def energy(params: Mapping, settings: Mapping) -> Energy:
    """V, W and beta = scale theta_beta, of which there are those that ``params`` holds."""
    kernel = Separable(Partial(interaction, params), Partial(mean_field, params))
    return Energy(
        Partial(potential, params) if "potential" in params else zero_energy().potential,
        kernel if "interaction" in params else None,
        params["units"]["scale"] * params["entropy"] if "entropy" in params else 0.0,
    )
