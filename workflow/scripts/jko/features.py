"""Features of linear energies: V(x) = theta . phi(x) and W(z) = theta . psi(z), in standardised units.

V's features phi, for coordinates of order one at any d:

- monomials of total degree 1 to ``degree``. The paper (jkonet_star appendix C.6) takes powers per
  coordinate on a grid; a total degree keeps the mixed terms and needs (d + degree choose degree) - 1
  features: 14 at d = 2 and 125 at d = 5 for degree 4. Where that exceeds ``most`` the total degree
  is lowered until it fits, and powers of single coordinates up to ``degree`` follow as long as
  they fit, d of each: at d = 50 1325 of degree 2, and x_i^3 and x_i^4, which carry a sum over coordinates.
- Gaussian bumps exp(-|x - c|^2 / sigma) around train points. The paper's grid of 10 points per dimension
  has 10^d of them; centres drawn from the data lie where V is asked for at any d. sigma is
  ``bump_width`` in units of the mean squared distance from a centre to the nearest other one.

W's features psi are even, W(-z) = W(z), so that two particles pull each other with opposite forces,
and the force of a particle on itself is zero:

- monomials of even total degree up to ``degree``;
- waves cos(omega . z), omega ~ N(0, (2 / sigma) I). Their mean product at z and z' is
  (exp(-|z - z'|^2 / sigma) + exp(-|z + z'|^2 / sigma)) / 2: many of them span what bumps of that width,
  made even, span (Rahimi and Recht 2007). sigma is ``width`` in units of the mean squared
  distance of two particles of one snapshot.

Both kinds split into functions of each particle, z = x - y,

    cos(omega . (x - y)) = cos(omega . x) cos(omega . y) + sin(omega . x) sin(omega . y)
    prod_i (x_i - y_i) = sum over subsets A of the factors of prod_{i in A} x_i prod_{i not in A} (-y_i)

and so the mean of psi(x - y) over a snapshot takes a few means over its particles y, once
(:func:`cloud_means`), and then no more than psi itself (:func:`mean_features`): of order n m in all
for n particles, where a sum over the pairs is of order n^2 m in time or memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import combinations, combinations_with_replacement, product
from math import comb
from operator import mul

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.spatial.distance import cdist

# Particles whose products are formed at once: at d = 50 each has thousands of them.
_BLOCK = 256


def monomials(d: int, degree: int, most: int) -> np.ndarray:
    """(p, width) factors of every monomial of total degree 1..low, and of x_i^a for the degrees a above that fit;
    index d stands for the factor 1, width is the largest degree.

    low is the largest total degree up to ``degree`` with at most ``most`` monomials, but never below 1; of the
    powers of single coordinates there are as many degrees as fit.
    """
    low = degree
    while low > 1 and comb(d + low, low) - 1 > most:
        low -= 1
    rows = [row for row in combinations_with_replacement(range(d + 1), low) if row[0] < d]
    for power in range(low + 1, degree + 1):
        if len(rows) + d > most:
            break
        rows += [(i,) * power for i in range(d)]
    width = max(map(len, rows))
    return np.array([(*row, *[d] * (width - len(row))) for row in rows], dtype=np.int32)


def degrees(factors: np.ndarray, d: int) -> np.ndarray:
    """Total degree of each monomial (p,)."""
    return np.sum(factors < d, axis=1)


def holding(factors: np.ndarray, d: int) -> np.ndarray:
    """(d, p_c) which monomials of (p, width) hold each coordinate: as many for each, as their set is the same
    for any order of the coordinates.
    """
    return np.stack([np.flatnonzero(np.any(factors == c, axis=1)) for c in range(d)])


def gap(points: np.ndarray) -> float:
    """Mean squared distance from a point of (c, d) to the nearest other one."""
    return float(np.mean(np.sort(cdist(points, points), axis=1)[:, 1] ** 2))


def potential_basis(
    z: np.ndarray,
    rng: np.random.Generator,
    *,
    degree: int,
    most: int,
    centers: int,
    bump_width: float,
) -> dict[str, np.ndarray]:
    """V's features: monomials by dimension, bumps around random train points z (n, d)."""
    # Points that repeat would be centres without a gap between them.
    points = np.unique(z, axis=0)
    rows = rng.choice(len(points), centers, replace=False)
    chosen = points[rows]
    return {
        "monomials": monomials(z.shape[1], degree, most),
        "centers": chosen,
        "sigma": bump_width * gap(chosen),
    }


def features(basis: Mapping, z: Array) -> Array:
    """phi(z): (m,) for z (d,). ``sigma`` is one number for all bumps, or one for each (c,)."""
    return jnp.concatenate([products(basis["monomials"], z), _bumps(basis, z)])


def _bumps(basis, z):
    sigma = jnp.broadcast_to(basis["sigma"], len(basis["centers"]))
    return jax.vmap(bump, in_axes=(None, 0, 0))(z, basis["centers"], sigma)


def products(factors: Array, z: Array) -> Array:
    """Monomials of :func:`monomials` (p, width) at z (d,): (p,)."""
    return _product(jnp.append(z, jnp.ones((), z.dtype))[factors])


def _product(values: Array) -> Array:
    """Product over the last, short axis. Derivatives of `jnp.prod` take several times as long as those of single products."""
    return reduce(mul, (values[..., i] for i in range(values.shape[-1])))


def combination(theta: Array, basis: Mapping, z: Array) -> Array:
    """theta . phi(z): () for theta (m,) and z (d,).

    The monomials have derivatives of their own by theta and z, whose Hessian is formed at once: by automatic derivatives,
    coordinate by coordinate, that of the combination takes seven times as long in 50 dimensions.
    """
    count = len(basis["monomials"])
    return monomial_sum(theta[:count], basis["monomials"], z) + theta[count:] @ _bumps(basis, z)


@jax.custom_jvp
def monomial_sum(theta: Array, factors: Array, z: Array) -> Array:
    """theta . :func:`products`: () for theta (p,), factors (p, width) and z (d,)."""
    return theta @ products(factors, z)


@monomial_sum.defjvp
def _monomial_sum_jvp(primals, tangents):
    (theta, factors, z), (d_theta, _, d_z) = primals, tangents
    change = monomial_sum(d_theta, factors, z) + monomial_slope(theta, factors, z) @ d_z
    return monomial_sum(theta, factors, z), change


@jax.custom_jvp
def monomial_slope(theta: Array, factors: Array, z: Array) -> Array:
    """Gradient of :func:`monomial_sum` by z: (d,)."""
    places = [(a,) for a in range(factors.shape[1])]
    # What stands for the factor 1 has no slope: its place is behind the coordinates.
    found = jnp.zeros(len(z) + 1, z.dtype)
    return found.at[factors].add(theta[:, None] * _without(factors, z, places))[:-1]


@monomial_slope.defjvp
def _monomial_slope_jvp(primals, tangents):
    (theta, factors, z), (d_theta, _, d_z) = primals, tangents
    change = monomial_slope(d_theta, factors, z) + monomial_hessian(theta, factors, z) @ d_z
    return monomial_slope(theta, factors, z), change


def monomial_hessian(theta: Array, factors: Array, z: Array) -> Array:
    """Second derivatives of :func:`monomial_sum` by z: (d, d)."""
    places = list(combinations(range(factors.shape[1]), 2))
    first, second = (factors[:, [pair[i] for pair in places]] for i in range(2))
    found = jnp.zeros(2 * (len(z) + 1,), z.dtype)
    found = found.at[first, second].add(theta[:, None] * _without(factors, z, places))
    return (found + found.T)[:-1, :-1]


def _without(factors, z, places):
    """Products (p, q) of the factors of each monomial but those at the q ``places``."""
    values = jnp.append(z, jnp.ones((), z.dtype))[factors]  # (p, width)
    left = [[i for i in range(factors.shape[1]) if i not in place] for place in places]
    if not any(left):
        return jnp.ones((len(factors), len(places)), z.dtype)
    return _product(values[:, left])


def bump(z: Array, center: Array, sigma: Array) -> Array:
    """exp(-|z - c|^2 / sigma): () for z (d,) and its centre c (d,)."""
    return jnp.exp(-jnp.sum((z - center) ** 2) / sigma)


def smoothed_features(basis: Mapping, z: Array, s: Array) -> Array:
    """phi_s(z) = E[phi(z + sqrt(2 s) xi)], xi normal: (m,) for z (d,) and s (); :func:`features` for s = 0.

    A monomial turns into the product of its coordinates' heat polynomials, a bump into (sigma / w)^(d/2)
    exp(-|z - c|^2 / w) with w = sigma + 4 s.
    """
    power, place = powers(basis["monomials"], len(z))
    heat = jnp.stack(polynomials(z, s, power.shape[1]))  # (width + 1, d)
    sigma = jnp.broadcast_to(basis["sigma"], len(basis["centers"]))
    width = sigma + 4 * s
    bumps = jax.vmap(bump, in_axes=(None, 0, 0))(z, basis["centers"], width)
    return jnp.concatenate([_product(heat[power, place]), (sigma / width) ** (len(z) / 2) * bumps])


def polynomials(x: Array, s: Array, degree: int) -> list[Array]:
    """h_a(x) = E[(x + sqrt(2 s) xi)^a], xi normal, for a = 0..degree >= 1 at every number of x.

    h_0 = 1, h_1 = x, h_{a+1} = x h_a + 2 s a h_{a-1}, and h_a has the slope a h_{a-1}. For arrays of numpy or JAX.

    Returns:
        degree + 1 arrays as x.
    """
    found = [x**0, x]
    for a in range(1, degree):
        found.append(x * found[a] + 2 * s * a * found[a - 1])
    return found


def powers(factors: Array, d: int) -> tuple[Array, Array]:
    """Of every monomial the power and the coordinate of each of its factors: (p, width) both. For arrays of numpy or JAX.

    One that stands more than once in its row has its power at the first place, and 0 at the others.
    """
    same = factors[:, :, None] == factors[:, None, :]
    earlier = np.tri(factors.shape[1], k=-1, dtype=bool)
    first = ~(same & earlier[None]).any(axis=2) & (factors < d)
    return (same & first[:, :, None]).sum(axis=2), factors.clip(max=d - 1)


def kernel_basis(
    clouds: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    degree: int,
    most: int,
    waves: int,
    width: float,
) -> dict[str, np.ndarray]:
    """W's features: even monomials by dimension, and random waves for snapshots (n, d)."""
    d = clouds[0].shape[1]
    rows = monomials(d, degree, most)
    # Twice the trace of the covariance is the mean squared distance of two particles.
    squared = np.mean([2 * np.sum(np.var(cloud, axis=0, ddof=1)) for cloud in clouds])
    sigma = width * squared
    scale = np.sqrt(2 / sigma) if sigma > 0 else 0.0
    return {
        "monomials": rows[degrees(rows, d) % 2 == 0],
        "waves": scale * rng.normal(size=(waves, d)),
        "sigma": sigma,
    }


def kernel_features(basis: Mapping, z: Array) -> Array:
    """psi(z): (m,) for the difference z (d,) of two particles."""
    return jnp.concatenate([products(basis["monomials"], z), jnp.cos(basis["waves"] @ z)])


def cloud_means(basis: Mapping, cloud: Array, size: Array) -> dict[str, Array]:
    """What :func:`mean_features` has to know of a snapshot: means over its particles.

    Args:
        cloud: (n, d) particles, of which the first ``size`` () count.

    Returns:
        powers: (2^width, p) of the factors of each monomial outside each subset.
        cos, sin: (waves,) of the phases.
    """
    inside = _subsets(basis)
    short = -len(cloud) % _BLOCK
    blocks = jnp.pad(cloud, ((0, short), (0, 0))).reshape(-1, _BLOCK, cloud.shape[1])
    counted = (jnp.arange(len(cloud) + short) < size).astype(cloud.dtype).reshape(-1, _BLOCK)

    def one(y):
        factors = jnp.append(-y, jnp.zeros((), y.dtype))[basis["monomials"]]  # (p, width)
        powers = _product(jnp.where(inside, jnp.ones((), y.dtype), factors[None]))
        phase = basis["waves"] @ y
        return {"powers": powers, "cos": jnp.cos(phase), "sin": jnp.sin(phase)}

    def of_block(rows):
        particles, weight = rows
        values = jax.vmap(one)(particles)
        return jax.tree.map(lambda value: jnp.tensordot(weight, value, axes=1), values)

    sums = jax.lax.map(of_block, (blocks, counted))
    return jax.tree.map(lambda value: jnp.sum(value, axis=0) / jnp.sum(counted), sums)


def mean_features(basis: Mapping, means: Mapping, x: Array) -> Array:
    """Mean of psi(x - y) over the particles y of a snapshot, that at x among them: (m,) for x (d,)."""
    factors = jnp.append(x, jnp.ones((), x.dtype))[basis["monomials"]]  # (p, width)
    powers = _product(jnp.where(_subsets(basis), factors[None], jnp.ones((), x.dtype)))
    phase = basis["waves"] @ x
    waves = jnp.cos(phase) * means["cos"] + jnp.sin(phase) * means["sin"]
    return jnp.concatenate([jnp.sum(powers * means["powers"], axis=0), waves])


def _subsets(basis: Mapping) -> np.ndarray:
    """(2^width, 1, width) which factors of a monomial are inside each subset."""
    width = basis["monomials"].shape[1]
    return np.array(list(product((False, True), repeat=width)))[:, None, :]


def legendre(t: Array, count: int) -> Array:
    """Legendre polynomials P_0, P_1, .. of t (), orthogonal on [-1, 1]: (count,), by Bonnet's recursion."""
    found = [jnp.ones_like(t), t]
    for k in range(1, count - 1):
        found.append(((2 * k + 1) * t * found[k] - k * found[k - 1]) / (k + 1))
    return jnp.stack(found[:count])
