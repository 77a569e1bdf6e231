"""JKOnet*, linear: V, W and beta in closed form (jkonet_star section 3.4, prop. 3.4).

With V = theta_V . phi and W = theta_W . psi (:mod:`jko.features`), what :mod:`jko.methods.jkonet_star`
calls the residual of a pair at its point p is linear in theta = (theta_V, theta_W, beta):

    r(p) = J(p)^T theta + (y - x) / tau,    J(p) = [d phi(p); mean_q d psi(p - q); grad log rho(p)]

with q over the other train particles of the snapshot of p. The loss sum_k E |r|^2 and a ridge are
quadratic, and

    (E[J J^T] + ridge) theta = -E[J (y - x) / tau]      (eq. 12, with Remark 3.5).

What of the three terms the data can tell apart is said in :mod:`jko.methods.jkonet_star`. Directions of
theta that they cannot are seen in the rank of E[J J^T], a metric of a fit beside the number of features and
the condition with the ridge; the log has it of V and W by themselves. The ridge leaves them at zero. It is laid on theta_V and theta_W, each in
proportion to the mean diagonal of its part of the equations, and not on beta, which it would
bias: what beta log rho and V explain alike goes to beta.

beta >= 0 is the one constraint, and solved exactly: by the free minimiser if its beta is not
negative, else by the minimiser with beta = 0 (:mod:`jko.quadratics`).

The widths and the ridges are candidates; the combination with the smallest error in cross-validation over
the train pairs is taken, in 5 folds for V alone and otherwise with an interval in each fold
(:func:`folds_of`). W has its own ridges, of which a large one leaves V alone: between snapshots drawn
independently V and W exchange whatever the sampling error of the means allows, and the smallest
W that predicts the other intervals as well is the better guess. The equations are
built and solved in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from jko import densities, features
from jko.batches import single
from jko.linear_energy import energy
from jko.methods import Fit, Problem
from jko.pairs import Pairs, coupled_pairs, in_units, places, units_of
from jko.quadratics import Quadratic, condition, rank

__all__ = ["SUMMARY", "energy", "fit"]

# What the equations say of a whole fit, as metrics: entries of theta, the rank of E[J J^T], and the condition with the ridge.
SUMMARY = ("features", "rank", "condition")
_FOLDS = 5
# Seeds the centres, the waves and the folds apart from every other use of a dataset's seeds.
_STREAM = 5
# Beside the numbers of folds, which seed the folds.
_WAVES = 100
# The settings that hold candidates for the width and the ridge of each term's features.
_CANDIDATES = {
    "potential": ("bump_widths", "ridges"),
    "interaction": ("interaction_widths", "interaction_ridges"),
}


class Rows(NamedTuple):
    """What the equations know of coupled pairs, in standardised units; None for what no term asks for.

    Attributes:
        pairs: points, wanted gradients and weights.
        k: (p,) snapshot of the point. score: (p, d) grad log rho at the point.
    """

    pairs: Pairs
    k: np.ndarray | None = None
    score: np.ndarray | None = None


def sizes_of(bases: Mapping[str, Mapping]) -> dict[str, int]:
    """How many entries of theta each term with features has, in their order; beta is behind them."""
    second = {"potential": "centers", "interaction": "waves"}
    return {
        term: len(basis["monomials"]) + len(basis[second[term]]) for term, basis in bases.items()
    }


def bases_of(
    rows: Rows, clouds: Sequence[np.ndarray], settings: Mapping, widths: Sequence, seed: int
) -> dict[str, dict]:
    """The features of the terms of one seed, for a bump width of V and a width of W."""
    bases, most = {}, settings["max_polynomials"]
    if "potential" in settings["terms"]:
        bases["potential"] = features.potential_basis(
            rows.pairs.x,
            np.random.default_rng([seed, _STREAM]),
            degree=settings["degree"],
            most=most,
            centers=settings["centers"],
            bump_width=widths[0],
        )
    if "interaction" in settings["terms"]:
        bases["interaction"] = features.kernel_basis(
            clouds,
            np.random.default_rng([seed, _STREAM, _WAVES]),
            degree=settings["interaction_degree"],
            most=most,
            waves=settings["interaction_waves"],
            width=widths[1],
        )
    return bases


def means_of(bases: Mapping, clouds: Sequence[np.ndarray]) -> dict[str, Array] | None:
    """What the mean of W's features over every snapshot takes: leaves (K, ...).

    ``others`` is n / (n - 1): the sums run over all n particles of a snapshot, but that at the
    point itself, where the gradient of an even function is zero, is none of its partners.
    """
    if "interaction" not in bases:
        return None
    size = np.array([len(cloud) for cloud in clouds])
    with jax.enable_x64(True):
        padded = np.stack([np.pad(c, ((0, max(size) - len(c)), (0, 0))) for c in clouds])
        means = _cloud_means(bases["interaction"], padded, size)
        return means | {"others": jnp.asarray(size / (size - 1))}


@jax.jit
def _cloud_means(basis, clouds, size):
    return jax.lax.map(lambda rows: features.cloud_means(basis, *rows), (clouds, size))


def slopes(
    bases: Mapping,
    means: Mapping | None,
    z: Array,
    score: Array | None,
    held: Mapping,
    along: Array,
) -> Array:
    """Entries of J at a point z (d,) along a direction (d,), in standardised units: (m_c,).

    Args:
        means: of :func:`means_of`, for the snapshot of the point. score: (d,) grad log rho.
        held: of each term's monomials those to be taken, as the others do not change.
    """

    def slope(function, *arguments):
        return jax.jvp(lambda x: function(*arguments, x), (z,), (along,))[1]

    bases = {t: b | {"monomials": b["monomials"][held[t]]} for t, b in bases.items()}
    parts = []
    if "potential" in bases:
        basis = bases["potential"]
        # The gradients of the bumps serve all directions.
        gradients = jax.vmap(jax.grad(features.bump), in_axes=(None, 0, None))
        of_bumps = gradients(z, basis["centers"], basis["sigma"]) @ along
        parts += [slope(features.products, basis["monomials"]), of_bumps]
    if "interaction" in bases:
        known = means | {"powers": means["powers"][:, held["interaction"]]}
        pulls = slope(features.mean_features, bases["interaction"], known)
        parts.append(means["others"] * pulls)
    if score is not None:
        parts.append(jnp.dot(score, along)[None])
    return jnp.concatenate(parts)


def quadratic(bases: Mapping, means: Mapping | None, rows: Rows) -> Quadratic:
    """The loss of some pairs, in float64: coordinate by coordinate, as few monomials change along each, and
    block by block, so that d = 50 fits into memory.
    """
    n, d = rows.pairs.x.shape
    # For each coordinate the monomials that hold it, and the entries of theta that change along it.
    held = {t: features.holding(basis["monomials"], d) for t, basis in bases.items()}
    entries, count = [], 0
    for term, size in sizes_of(bases).items():
        others = np.arange(count + len(bases[term]["monomials"]), count + size)
        entries += [count + held[term], np.tile(others, (d, 1))]
        count += size
    if rows.score is not None:
        entries, count = [*entries, np.full((d, 1), count)], count + 1
    entries = np.concatenate(entries, axis=1)  # (d, m_c)
    # A larger array is one that the system has to clear anew for every block.
    block = max(16, min(1024, 2**20 // entries.size, n))
    # Filling rows have weight zero; a fixed shape keeps one compiled program.
    rows = jax.tree.map(lambda c: np.pad(c, [(0, -n % block)] + [(0, 0)] * (c.ndim - 1)), rows)
    grams = np.zeros((d, entries.shape[1], entries.shape[1]))
    moments = np.zeros(entries.shape)
    with jax.enable_x64(True):
        for start in range(0, n, block):
            part = jax.tree.map(lambda column, at=start: column[at : at + block], rows)
            found, target = map(np.asarray, _weighted(bases, means, part, held))
            for c, j in enumerate(found):
                # numpy multiplies a matrix by its own transpose in half the time of a product.
                grams[c] += j @ j.T
                moments[c] += j @ target[c]
    gram, moment, weight = np.zeros((count, count)), np.zeros(count), rows.pairs.weight
    for c, changed in enumerate(entries):
        gram[np.ix_(changed, changed)] += grams[c]
        moment[changed] += moments[c]
    return Quadratic(gram, moment, weight @ np.sum(rows.pairs.target**2, axis=1), np.sum(weight))


@jax.jit
def _weighted(bases, means, rows, held):
    """J (d, m_c, b) and the wanted gradients (d, b) of b pairs, times the root of their weights."""
    z, _, target, weight = rows.pairs
    at = None if means is None else jax.tree.map(lambda leaf: leaf[rows.k], means)
    of_pairs = (None, None if at is None else 0, 0, None if rows.score is None else 0, None, None)
    over = jax.vmap(jax.vmap(slopes, of_pairs, 1), (None, None, None, None, 0, 0))
    found = over(bases, at, z, rows.score, held, jnp.eye(z.shape[1], dtype=z.dtype))
    root = jnp.sqrt(weight)
    return found * root[None, None], target.T * root[None]


def fit(problem: Problem, settings: Mapping, report=print) -> Fit:
    """Choose widths and ridge by cross-validation and solve the normal equations, for every seed.

    Raises:
        ValueError: the entropy is to be learned without a density, or no particle stands apart.
    """
    snapshots, terms = problem.snapshots, settings["terms"]
    if "entropy" in terms and problem.density is None:
        raise ValueError(
            "terms of jkonet_star_linear hold entropy, which needs the density of the snapshots; the "
            "setting density must name an entry under densities"
        )
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
    results, status, lines = [], [], []
    for s, seed in enumerate(snapshots.seed):
        units = units_of(of_seed[s], snapshots.time)
        rows = rows_of(problem, settings, s, of_seed[s], units)
        clouds = [
            (cloud - units["center"]) / units["width"] for cloud in snapshots.clouds(s, "train")
        ]
        try:
            theta, bases, loss, equations = solve(rows, clouds, settings, int(seed), report)
            status.append("ok")
        except np.linalg.LinAlgError as error:
            widths = settings["bump_widths"][0], settings["interaction_widths"][0]
            bases = bases_of(rows, clouds, settings, widths, int(seed))
            count = sum(sizes_of(bases).values()) + ("entropy" in terms)
            theta, loss = np.full(count, np.nan), np.nan
            equations = dict.fromkeys(SUMMARY, np.float64(np.nan))
            status.append(f"not solved: {error}")
        results.append(params_of(theta, bases, units) | equations)
        lines.append({"seed": seed, "epoch": 1, "loss": loss})
    params = jax.tree.map(lambda *leaves: single(np.stack(leaves)), *results)
    return Fit(params, status, pd.DataFrame(lines))


def rows_of(problem: Problem, settings: Mapping, s: int, pairs: Pairs, units: Mapping) -> Rows:
    """The rows of the ``s``-th seed for its ``pairs`` of :func:`jko.pairs.coupled_pairs`."""
    rows = Rows(in_units(pairs, units))
    if set(settings["terms"]) & {"interaction", "entropy"}:
        k, place = places(problem.snapshots, problem.coupling, s, settings["scheme"])
        rows = rows._replace(k=k)
    if "entropy" in settings["terms"]:
        score = densities.scores(problem.density, problem.snapshots, s, k, place)
        rows = rows._replace(score=units["width"] * score.astype(np.float64))
    return rows


def params_of(theta: np.ndarray, bases: Mapping, units: Mapping) -> dict:
    """What :func:`energy` takes: the units, each term's features with its part of theta, and beta."""
    params, start = {"units": units}, 0
    for term, size in sizes_of(bases).items():
        params[term] = {"theta": theta[start : start + size], "basis": bases[term]}
        start += size
    return params if start == len(theta) else params | {"entropy": theta[-1]}


def solve(
    rows: Rows, clouds: Sequence[np.ndarray], settings: Mapping, seed: int, report=print
) -> tuple[np.ndarray, dict, float, dict]:
    """theta, the features, the loss and the numbers of SUMMARY for the pairs of one seed, in standardised units.

    Raises:
        LinAlgError: the equations are singular or not finite for every candidate.
    """
    bases, ridges, whole = choose(rows, clouds, settings, seed)
    sizes = sizes_of(bases)
    groups = list(zip(sizes.values(), ridges, strict=True))
    theta = whole.minimiser(groups)
    loss = whole.loss(theta)
    described, start = [], 0
    for (term, size), ridge in zip(sizes.items(), ridges, strict=True):
        part, powers = slice(start, start + size), bases[term]["monomials"]
        described.append(
            f"{term}: {size} features, {len(powers)} of them monomials of degree <= {powers.shape[1]}, "
            f"sigma {bases[term]['sigma']:.4g}, ridge {ridge:g}, rank {rank(whole.gram[part, part])}"
        )
        start += size
    if rows.score is not None:
        at_bound = ", at its bound" if theta[-1] == 0 else ""
        described.append(f"entropy: {theta[-1]:.4g} in units of the energy{at_bound}")
    numbers = len(theta), rank(whole.gram), condition(whole.penalised(groups))
    equations = dict(zip(SUMMARY, map(np.float64, numbers), strict=True))
    report(
        f"seed {seed}: {'; '.join(described)}; rank {numbers[1]} of {numbers[0]}, "
        f"condition {numbers[2]:.3g}, loss {loss:.6g}"
    )
    return theta, bases, loss, equations


def folds_of(rows: Rows, seed: int) -> np.ndarray:
    """The fold of every pair: (p,).

    All pairs of a point stand in one fold: a point in several pairs must not vouch for itself. With an
    interaction or an entropy all pairs of an interval do, for W's mean and the score are those of
    a snapshot, and so is their sampling error: within a snapshot it passes for a fit.
    """
    if rows.k is not None and np.ptp(rows.k) > 0:
        return np.unique(rows.k, return_inverse=True)[1]
    _, point = np.unique(rows.pairs.x, axis=0, return_inverse=True)
    folds = min(_FOLDS, int(point.max()) + 1)
    rng = np.random.default_rng([seed, _STREAM, folds])
    return (rng.permutation(int(point.max()) + 1) % folds)[point.ravel()]


def choose(
    rows: Rows, clouds: Sequence[np.ndarray], settings: Mapping, seed: int
) -> tuple[dict, tuple[float, ...], Quadratic]:
    """The features, their ridges and the loss with the smallest cross-validated error on the pairs.

    A candidate whose equations cannot be solved is passed over.

    Raises:
        LinAlgError: none of the candidates can be solved.
    """
    fold = folds_of(rows, seed)
    candidates = {term: (settings[w], settings[r]) for term, (w, r) in _CANDIDATES.items()}
    for term in set(candidates) - set(settings["terms"]):
        candidates[term] = ([None], [None])
    widths, ridges = zip(*candidates.values(), strict=True)
    best = (np.inf, None, None, None)
    for pair in product(*widths):
        bases = bases_of(rows, clouds, settings, pair, seed)
        means = means_of(bases, clouds)
        parts = [
            quadratic(bases, means, jax.tree.map(lambda column, f=f: column[fold == f], rows))
            for f in range(fold.max() + 1)
        ]
        whole = functools.reduce(Quadratic.__add__, parts)
        for chosen in product(*ridges):
            chosen = tuple(ridge for ridge in chosen if ridge is not None)
            groups = list(zip(sizes_of(bases).values(), chosen, strict=True))
            try:
                whole.minimiser(groups)
                error = _error_of_folds(parts, groups)
            except np.linalg.LinAlgError:
                continue
            if error < best[0]:
                best = (error, bases, chosen, whole)
    if best[1] is None:
        raise np.linalg.LinAlgError(
            "the equations are singular or not finite at every ridge and width"
        )
    return best[1:]


def _error_of_folds(parts: Sequence[Quadratic], groups: Sequence[tuple[int, float]]) -> float:
    """Mean over the folds of the loss of one under the minimiser of the others."""
    errors = []
    for f, part in enumerate(parts):
        others = functools.reduce(Quadratic.__add__, [*parts[:f], *parts[f + 1 :]])
        errors.append(part.loss(others.minimiser(groups)))
    return float(np.mean(errors))
