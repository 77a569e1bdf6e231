"""JKOnet*, linear: V(x) = theta . phi(x), in closed form (jkonet_star prop. 3.4).

With phi's Jacobian J(p) = d phi / d x at the point p where the scheme takes the gradient, the loss
sum_k E |J(p)^T theta + (y - x) / tau|^2 + ridge |theta|^2 is quadratic, and

    (E[J J^T] + ridge I) theta = -E[J (y - x) / tau]      (eq. 12, with Remark 3.5).

Features, in coordinates standardised by the train points (so that they stay of order one at any d):

- monomials of total degree 1 to ``degree``. The paper takes powers per coordinate on a grid;
  a total degree keeps the mixed terms and needs (d + degree choose degree) - 1 features:
  14 at d = 2 and 125 at d = 5 for degree 4. Where that exceeds ``max_polynomials`` the degree
  is lowered until it fits (at d = 50: degree 2, 1325 features); the log of the fit says so.
- Gaussian bumps exp(-|x - c|^2 / sigma) around ``centers`` train points. The paper's grid
  of 10 points per dimension has 10^d of them; centres drawn from the data lie where V is asked
  for at any d. sigma is ``bump_width`` in units of the mean squared distance from a centre
  to the nearest other one.

``bump_widths`` and ``ridges`` are candidates; the pair with the smallest error in 5-fold
cross-validation over the train pairs is taken. The equations are built and solved in float64;
their rank and condition are reported.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from math import comb
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.tree_util import Partial
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from jko.energies import Energy
from jko.methods import Fit, Problem
from jko.pairs import Pairs, coupled_pairs, in_units, standardise, units_of

_FOLDS = 5
# Seeds the centres and the folds apart from every other use of a dataset's seeds.
_STREAM = 5


def features(basis: Mapping, z: Array) -> Array:
    """phi(z): (m,) for standardised z (d,)."""
    factors = jnp.append(z, jnp.ones((), z.dtype))[basis["monomials"]]  # (p, degree)
    distances = jnp.sum((z[None, :] - basis["centers"]) ** 2, axis=1)  # (c,)
    return jnp.concatenate([jnp.prod(factors, axis=1), jnp.exp(-distances / basis["sigma"])])


def monomials(d: int, degree: int, most: int) -> np.ndarray:
    """(p, degree) factors of every monomial of total degree 1..degree;
    index d stands for the factor 1.

    The degree is lowered until there are at most ``most`` monomials, but never below 1.
    """
    while degree > 1 and comb(d + degree, degree) - 1 > most:
        degree -= 1
    rows = combinations_with_replacement(range(d + 1), degree)
    return np.array([row for row in rows if row[0] < d], dtype=np.int32)


def basis_of(z: np.ndarray, settings: Mapping, bump_width: float, seed: int) -> dict:
    """The features of one seed: monomials by dimension, bumps around random
    train points z (n, d).
    """
    # Points that repeat would be centres without a gap between them.
    points = np.unique(z, axis=0)
    rng = np.random.default_rng([seed, _STREAM])
    rows = rng.choice(len(points), settings["centers"], replace=False)
    centers = points[rows]
    spacing = np.sort(cdist(centers, centers), axis=1)[:, 1]
    return {
        "monomials": monomials(z.shape[1], settings["degree"], settings["max_polynomials"]),
        "centers": centers,
        "sigma": bump_width * np.mean(spacing**2),
    }


def potential(params: Mapping, x: Array, t: Array) -> Array:
    """V(x) = scale theta . phi((x - center) / width), for x (d,); t is not used."""
    z, _ = standardise(params["units"], x, t)
    return params["units"]["scale"] * params["theta"] @ features(params["basis"], z)


def energy(params: Mapping, settings: Mapping) -> Energy:
    """The learned energy: V, without interaction or entropy."""
    return Energy(Partial(potential, params))


class Quadratic(NamedTuple):
    """The loss theta^T gram theta - 2 theta . moment + constant, as sums over
    pairs with total ``mass``.
    """

    gram: np.ndarray
    moment: np.ndarray
    constant: float
    mass: float

    def __add__(self, other: Quadratic) -> Quadratic:
        return Quadratic(*(a + b for a, b in zip(self, other, strict=True)))

    def minimiser(self, ridge: float) -> np.ndarray:
        """theta of (gram + level I) theta = moment, by Cholesky.

        The level is ``ridge`` times the mean diagonal of gram, so that a ridge means the same
        for every set of features.

        Raises:
            LinAlgError: the equations are not finite, or singular in float64 at this ridge.
        """
        if not (np.isfinite(self.gram).all() and np.isfinite(self.moment).all()):
            raise np.linalg.LinAlgError("the normal equations are not finite")
        level = ridge * np.mean(np.diag(self.gram))
        try:
            factor = cho_factor(self.gram + level * np.eye(len(self.gram)))
        except np.linalg.LinAlgError as error:
            raise np.linalg.LinAlgError(
                f"the normal equations are singular in float64 at ridge {ridge:g}"
            ) from error
        return cho_solve(factor, self.moment)

    def loss(self, theta: np.ndarray) -> float:
        """Mean squared error of the gradient under theta."""
        return (
            float(theta @ self.gram @ theta - 2 * theta @ self.moment + self.constant) / self.mass
        )


def quadratic(basis: Mapping, data: Pairs) -> Quadratic:
    """The loss of some pairs, in float64, block by block so that d = 50 fits into memory."""
    entries = (len(basis["centers"]) + len(basis["monomials"])) * data.x.shape[1]
    block = max(16, min(1024, 2**24 // entries, len(data.x)))
    with jax.enable_x64(True):
        total = None
        for start in range(0, len(data.x), block):
            rows = slice(start, start + block)
            columns = (data.x[rows], data.target[rows], data.weight[rows])
            short = block - len(columns[0])
            # Filling rows have weight zero; a fixed shape keeps one compiled program.
            columns = [np.pad(c, [(0, short)] + [(0, 0)] * (c.ndim - 1)) for c in columns]
            part = Quadratic(*map(np.asarray, _block_quadratic(basis, *columns)))
            total = part if total is None else total + part
    return total


@jax.jit
def _block_quadratic(basis, z, target, weight):
    jacobian = jax.vmap(jax.jacfwd(features, argnums=1), in_axes=(None, 0))(basis, z)  # (b, m, d)
    weighted = jacobian * weight[:, None, None]
    gram = jnp.einsum("bmd,bnd->mn", weighted, jacobian)
    moment = jnp.einsum("bmd,bd->m", weighted, target)
    return gram, moment, jnp.sum(weight[:, None] * target**2), jnp.sum(weight)


def fit(problem: Problem, settings: Mapping, report=print) -> Fit:
    """Choose width and ridge by cross-validation and solve the normal equations, for every seed."""
    snapshots = problem.snapshots
    seeds = range(len(snapshots.seed))
    of_seed = [
        coupled_pairs(snapshots, problem.coupling, s, settings["scheme"], np.float64) for s in seeds
    ]
    # As many centres for every seed, so that the seeds' parameters stack.
    points = min(len(np.unique(pairs.x, axis=0)) for pairs in of_seed)
    if points < 2:
        raise ValueError(
            "all coupled train particles stand on one point; a potential needs an extent"
        )
    settings = {**settings, "centers": min(settings["centers"], points)}
    results, status, rows = [], [], []
    for seed, pairs in zip(snapshots.seed, of_seed, strict=True):
        units = units_of(pairs, snapshots.time)
        inside = in_units(pairs, units)
        try:
            theta, basis, loss = solve(inside, settings, int(seed), report)
            status.append("ok")
        except np.linalg.LinAlgError as error:
            basis = basis_of(inside.x, settings, settings["bump_widths"][0], int(seed))
            count = len(basis["monomials"]) + len(basis["centers"])
            theta, loss = np.full(count, np.nan), np.nan
            status.append(f"not solved: {error}")
        results.append({"theta": theta, "units": units, "basis": basis})
        rows.append({"seed": seed, "epoch": 1, "loss": loss})
    params = jax.tree.map(lambda *leaves: _stack(leaves), *results)
    return Fit(params, status, pd.DataFrame(rows))


def solve(
    pairs: Pairs, settings: Mapping, seed: int, report=print
) -> tuple[np.ndarray, dict, float]:
    """theta, the features and the loss for the pairs of one seed, in standardised units.

    Raises:
        LinAlgError: the equations are singular or not finite for every candidate.
    """
    basis, ridge, whole = choose(pairs, settings, seed)
    theta = whole.minimiser(ridge)
    loss = whole.loss(theta)
    values = np.linalg.eigvalsh(whole.gram)
    rank = int(np.sum(values > values[-1] * len(values) * np.finfo(float).eps))
    condition = values[-1] / (max(values[0], 0) + ridge * np.mean(values))
    report(
        f"seed {seed}: {len(theta)} features, {len(basis['monomials'])} of them monomials of degree "
        f"<= {basis['monomials'].shape[1]}; sigma {basis['sigma']:.4g}, ridge {ridge:g}, rank {rank}, "
        f"condition {condition:.3g}, loss {loss:.6g}"
    )
    return theta, basis, loss


def choose(pairs: Pairs, settings: Mapping, seed: int) -> tuple[dict, float, Quadratic]:
    """The features, the ridge and the loss with the smallest cross-validated error on the pairs.

    All pairs of a point stand in one fold: a point in several pairs must not vouch for itself.
    A candidate whose equations cannot be solved is passed over.

    Raises:
        LinAlgError: none of the candidates can be solved.
    """
    _, point = np.unique(pairs.x, axis=0, return_inverse=True)
    folds = min(_FOLDS, int(point.max()) + 1)
    rng = np.random.default_rng([seed, _STREAM, folds])
    fold = (rng.permutation(int(point.max()) + 1) % folds)[point.ravel()]
    best = (np.inf, None, None, None)
    for bump_width in settings["bump_widths"]:
        basis = basis_of(pairs.x, settings, bump_width, seed)
        parts = [
            quadratic(basis, Pairs(*(column[fold == f] for column in pairs))) for f in range(folds)
        ]
        whole = functools.reduce(Quadratic.__add__, parts)
        for ridge in settings["ridges"]:
            try:
                whole.minimiser(ridge)
                error = _error_of_folds(parts, ridge)
            except np.linalg.LinAlgError:
                continue
            if error < best[0]:
                best = (error, basis, ridge, whole)
    if best[1] is None:
        raise np.linalg.LinAlgError(
            "the equations are singular or not finite at every ridge and width"
        )
    return best[1:]


def _error_of_folds(parts: Sequence[Quadratic], ridge: float) -> float:
    """Mean over the folds of the loss of one under the minimiser of the others."""
    errors = []
    for f, part in enumerate(parts):
        others = functools.reduce(Quadratic.__add__, [*parts[:f], *parts[f + 1 :]])
        errors.append(part.loss(others.minimiser(ridge)))
    return float(np.mean(errors))


def _stack(leaves: tuple) -> np.ndarray:
    stacked = np.stack(leaves)
    return stacked.astype(np.float32) if stacked.dtype == np.float64 else stacked
