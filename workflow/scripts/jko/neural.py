"""Learned terms of an energy: networks in standardised units, and the Energy that they make.

    V(x, t) = scale v((x - center) / width [, t])    W(z) = scale w(z / width)    beta = scale b

with v and w networks, w(z) = (net(z) + net(-z)) / 2 even as a kernel must be,
and b = softplus(raw) >= 0. Lengths are in units of ``width`` and energies of ``scale``
(:mod:`jko.pairs`), so that the three terms of a population's gradient, grad V, grad W * rho
and beta grad log rho, share one unit, scale / width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jko.energies import Energy, Even
from jko.networks import MLP, apply_mlp
from jko.pairs import standardise

TERMS = ("potential", "interaction", "entropy")
# b = 0.05 of an energy's unit to start with.
_RAW_BETA = -3.0


def init(
    key: Array, dimension: int, terms: Sequence[str], time_varying: bool, hidden: Sequence[int]
):
    """Networks and the raw beta of the given terms, with random weights: a pytree keyed by term."""
    nets = {}
    if "potential" in terms:
        nets["potential"] = MLP(hidden).init(key, jnp.zeros(dimension + time_varying))
    if "interaction" in terms:
        nets["interaction"] = MLP(hidden).init(jax.random.fold_in(key, 1), jnp.zeros(dimension))
    if "entropy" in terms:
        nets["entropy"] = jnp.float32(_RAW_BETA)
    return nets


def v(nets: Mapping, z: Array, t: Array) -> Array:
    """v at z (d,) and t (), both standardised; 0 without the term. The network takes t
    if it has a place for it.
    """
    if "potential" not in nets:
        return jnp.zeros((), z.dtype)
    inputs = nets["potential"]["params"]["Dense_0"]["kernel"].shape[0]
    return apply_mlp(nets["potential"], z if inputs == z.size else jnp.append(z, t))


def w(nets: Mapping, z: Array) -> Array:
    """w at the standardised difference z (d,) of two particles."""
    return Even(partial(apply_mlp, nets["interaction"]))(z)


def b(nets: Mapping) -> Array:
    """beta in units of scale, >= 0; 0 without the term."""
    return jax.nn.softplus(nets["entropy"]) if "entropy" in nets else jnp.zeros(())


def potential(params: Mapping, x: Array, t: Array) -> Array:
    """V(x, t) for x (d,) and t ()."""
    units = params["units"]
    return units["scale"] * v(params["nets"], *standardise(units, x, t))


def kernel(params: Mapping, z: Array) -> Array:
    """The kernel whose even part is W, for z (d,), the difference of two particles."""
    units = params["units"]
    return units["scale"] * apply_mlp(params["nets"]["interaction"], z / units["width"])


def energy(params: Mapping) -> Energy:
    """The Energy of ``params``: ``nets`` (:func:`init`) and ``units`` of one seed."""
    nets = params["nets"]
    interaction = Even(Partial(kernel, params)) if "interaction" in nets else None
    return Energy(Partial(potential, params), interaction, params["units"]["scale"] * b(nets))
