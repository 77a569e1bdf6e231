"""The energy of a closed form: V = theta_V . phi and W = theta_W . psi by the features of :mod:`jko.features`.

    V(x) = scale theta_V . phi((x - center) / width),    W(z) = scale theta_W . psi(z / width)

The mean of psi over a population takes a few means over its particles, and so the mean of W does: order n m for n particles and
m features, where pairs take n^2 m.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
from jax import Array
from jax.tree_util import Partial

from jko import features
from jko.energies import Energy, Split, zero_energy
from jko.pairs import standardise


def potential(params: Mapping, x: Array, t: Array) -> Array:
    """V(x) for x (d,); t is not used."""
    z, _ = standardise(params["units"], x, t)
    term = params["potential"]
    return params["units"]["scale"] * features.combination(term["theta"], term["basis"], z)


def interaction(params: Mapping, z: Array) -> Array:
    """W(z) for the difference z (d,) of two particles."""
    term, units = params["interaction"], params["units"]
    values = features.kernel_features(term["basis"], z / units["width"])
    return units["scale"] * term["theta"] @ values


def interaction_over(params: Mapping, cloud: Array) -> Partial:
    """The function x to mean_y W(x - y) over a cloud (n, d)."""
    z = jax.vmap(lambda y: standardise(params["units"], y, 0.0)[0])(cloud)
    return Partial(_mean, params, features.cloud_means(params["interaction"]["basis"], z, len(z)))


def _mean(params, means, x):
    z, _ = standardise(params["units"], x, 0.0)
    term = params["interaction"]
    return (
        params["units"]["scale"] * term["theta"] @ features.mean_features(term["basis"], means, z)
    )


def energy(params: Mapping, settings: Mapping) -> Energy:
    """The energy, with the terms that ``params`` holds."""
    kernel = Split(Partial(interaction, params), Partial(interaction_over, params))
    return Energy(
        Partial(potential, params) if "potential" in params else zero_energy().potential,
        kernel if "interaction" in params else None,
        params["units"]["scale"] * params["entropy"] if "entropy" in params else 0.0,
    )
