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
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jko import pulls
from jko.energies import Energy
from jko.evidence import Posterior
from jko.features import combination, features, legendre, products
from jko.pairs import standardise
from jko.uncertainty import Uncertainty

# What the posterior says of a whole fit, as metrics. misfit: squared residuals over what noise alone would leave of them; well
# above 1, no energy carries the data. evidence: log marginal likelihood of the residuals in units of their noise, less what
# the number of residuals makes of it; it compares fits with the same test functions and snapshots. condition: number of the
# normal equations with the prior, in units of its scales. known_potential, known_interaction: how many coefficients of V
# and of W the data determine; below 1, next to nothing of the term. snapshots: how many were learned from.
SUMMARY = ("misfit", "evidence", "condition", "known_potential", "known_interaction", "snapshots")


def units_of(snapshots, s: int) -> dict[str, np.ndarray]:
    """Mean and root mean variance of the train particles; V in units that move a particle by one width
    in a mean interval.
    """
    x = np.concatenate(snapshots.clouds(s, "train"))
    width = np.sqrt(np.mean(np.var(x, axis=0)))
    units = {
        "center": x.mean(axis=0),
        "width": width,
        "scale": width**2 / np.mean(snapshots.tau),
        "time_center": np.mean(snapshots.time[[0, -1]]),
        "time_width": np.ptp(snapshots.time) / 2,
    }
    return {name: np.asarray(value, np.float64) for name, value in units.items()}


def parameters(
    found: Posterior,
    counts: Mapping[str, float],
    basis: Mapping,
    change: np.ndarray,
    kernel: Mapping,
    group: np.ndarray,
    units: Mapping,
    settings: Mapping,
) -> dict:
    """What the functions below need, of coefficients of V, W and beta in this order.

    Args:
        found: of monomials made orthonormal by ``change`` (p, p). counts: misfit and snapshots of the fit.
        basis: of psi. kernel: of chi. group: of every coefficient, that of its scale.
    """
    # In units of the prior, where the normal equations are I and what the data add.
    root = np.exp(0.5 * found.log_variance)[group]
    scaled = found.covariance / root[:, None] / root[None, :]
    known = 1 - np.diag(scaled)
    condition = np.linalg.cond(scaled) if np.isfinite(scaled).all() else np.nan
    whole, powers = np.eye(len(found.mean)), 1 + settings["time_degree"]
    p = len(change) + len(basis["centers"])
    for start in range(0, powers * p, p):
        block = slice(start, start + len(change))
        whole[block, block] = change
    mean, covariance = whole @ found.mean, whole @ found.covariance @ whole.T
    terms, scale, of_v = settings["terms"], float(units["scale"]), powers * p
    of_w = slice(of_v, of_v + (pulls.count(kernel) if "interaction" in terms else 0))
    entropy = "entropy" in terms
    return {
        "theta": mean[:of_v].reshape(powers, p),
        "omega": mean[of_w],
        **kernel,
        "beta": np.float64(scale * mean[-1] if entropy else 0.0),
        "beta_deviation": np.float64(scale * np.sqrt(covariance[-1, -1]) if entropy else 0.0),
        "covariance": covariance[:of_v, :of_v].reshape(powers, p, powers, p),
        **{name: np.float64(value) for name, value in counts.items()},
        "evidence": np.float64(found.evidence),
        "condition": np.float64(condition),
        "known_potential": np.sum(known[:of_v]),
        "known_interaction": np.sum(known[of_w]),
        "basis": basis,
        "units": units,
    }


def filled(params: dict, count: int, d: int) -> dict:
    """The parameters with ``count`` monomials, as seeds stack: behind their own the factor 1, with the coefficient 0."""
    basis, own = params["basis"], len(params["basis"]["monomials"])
    rows = np.pad(basis["monomials"], [(0, count - own), (0, 0)], constant_values=d)
    place = np.full(count - own, own)
    theta, covariance = np.insert(params["theta"], place, 0.0, axis=1), params["covariance"]
    for axis in (1, 3):
        covariance = np.insert(covariance, place, 0.0, axis=axis)
    return params | {"basis": basis | {"monomials": rows}, "theta": theta, "covariance": covariance}


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
    """The posterior of grad V and beta."""
    learned = {
        name: float(params[name])
        for name in ("beta", "beta_deviation")
        if "entropy" in settings["terms"]
    }
    return Uncertainty(Partial(gradient_covariance, params), **learned)
