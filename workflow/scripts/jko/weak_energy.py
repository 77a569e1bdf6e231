"""The energy of a posterior of the weak form: linear in its coefficients, with V a function of place and time.

    V(x, t) = scale sum_l P_l((t - time_center) / time_width) theta_l . psi((x - center) / width),
    W(z) = scale omega . chi(z / width),

with psi monomials and Gaussian bumps (:mod:`jko.features`), P_l Legendre polynomials, P_0 = 1 alone for a V that does not
depend on time, and chi even: exp(-|z|^2 / sigma_q), |z|^2 / 2, and the quadratic forms z_i z_j. With m the mean of the
population and m_i its coordinates, such a form pulls a particle at x by (x_j - m_j) e_i + (x_i - m_i) e_j.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jko.energies import Energy
from jko.features import combination, features, legendre, products
from jko.pairs import standardise
from jko.uncertainty import Uncertainty


def potential(params: Mapping, x: Array, t: Array) -> Array:
    """V(x, t) for x (d,)."""
    z, time = standardise(params["units"], x, t)
    theta = legendre(time, len(params["theta"])) @ params["theta"]
    return params["units"]["scale"] * combination(theta, params["basis"], z)


def kernels(params: Mapping, z: Array) -> Array:
    """chi(z): (q,) for standardised z (d,), from the ``ranges`` sigma (r,) and the ``forms`` i, j (f, 2)."""
    square = jnp.sum(z**2)
    bells = jnp.exp(-square / params["ranges"])
    return jnp.concatenate([bells, square[None] / 2, products(params["forms"], z)])


def interaction(params: Mapping, z: Array) -> Array:
    """W(z) for the difference z (d,) of two particles."""
    units = params["units"]
    return units["scale"] * params["omega"] @ kernels(params, z / units["width"])


def energy(params: Mapping, settings: Mapping) -> Energy:
    """The energy of the posterior mean; a negative beta is taken as 0."""
    kernel = Partial(interaction, params) if "interaction" in settings["terms"] else None
    return Energy(Partial(potential, params), kernel, jnp.maximum(params["beta"], 0))


def gradient_covariance(params: Mapping, x: Array, t: Array) -> Array:
    """Posterior covariance of grad V at x (d,) and t (): (d, d)."""
    units = params["units"]
    z, time = standardise(units, x, t)
    powers = legendre(time, len(params["covariance"]))
    covariance = jnp.einsum("a,apbq,b->pq", powers, params["covariance"], powers)
    slope = jax.jacfwd(features, argnums=1)(params["basis"], z)  # (p, d)
    return (units["scale"] / units["width"]) ** 2 * slope.T @ covariance @ slope


def uncertainty(params: Mapping, settings: Mapping) -> Uncertainty:
    """The posterior of grad V and beta, chi^2 over the mean that it has if the energy is right, and the evidence."""
    learned = {
        name: float(params[name])
        for name in ("beta", "beta_deviation")
        if "entropy" in settings["terms"]
    }
    covariance = Partial(gradient_covariance, params)
    return Uncertainty(covariance, float(params["misfit"]), float(params["evidence"]), **learned)
