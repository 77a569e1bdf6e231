"""Couplings of two clouds: exact, entropic and minibatch optimal transport, kept sparse.

A coupling is a list of pairs (i, j) with weights. Cost is |x - y|^2 throughout,
so that the weighted sum of costs is W2^2 for the exact plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array

from jko.files import atomic_path
from jko.snapshots import Snapshots

# Seeds the blocks of minibatches apart from every other use of a dataset's seeds.
_STREAM = 2
# Numbers in a cost matrix; an exact plan needs several such matrices in memory.
_MOST_COSTS = 400_000_000
# Particles from which on a problem is solved on few pairs first: sixty partners of each particle, by the duals of
# every third particle.
_MANY = 500
_THINNING = 3
_PARTNERS = 60
# How far below its duals the cost of a pair that was left out may be, in parts of the highest cost, and so how far the
# plan's cost above the least one.
_ROUNDING = 1e-12
# Rows of a cost matrix that are looked at together.
_ROWS = 64


class Coupling(NamedTuple):
    """A sparse plan between two clouds of n and m particles.

    Attributes:
        i: (p,) int, particle of the first cloud. j: (p,) int, particle of the second.
        weight: (p,) mass of the pair, > 0, summing to 1 with uniform marginals 1/n and 1/m.
        cost: () sum of weight |x_i - y_j|^2.
    """

    i: np.ndarray
    j: np.ndarray
    weight: np.ndarray
    cost: float


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, m) |x_i - y_j|^2 in float64, without cancellation below zero."""
    from scipy.spatial.distance import cdist

    return cdist(x, y, "sqeuclidean")


def exact(x: np.ndarray, y: np.ndarray) -> Coupling:
    """The optimal plan: network simplex, or linear assignment where the sizes are equal and small.

    Args:
        x: (n, d), y: (m, d), each with uniform weights.

    Raises:
        ValueError: the cost matrix would not fit into memory.
        RuntimeError: the network simplex did not reach optimality.
    """
    if len(x) * len(y) >= _MOST_COSTS:
        raise ValueError(
            f"an exact coupling of {len(x)} x {len(y)} particles needs {_MOST_COSTS:.0e} costs or more "
            "in memory; take a minibatch coupling"
        )
    cost = squared_distances(x, y)
    if len(x) == len(y) < _MANY:
        from scipy.optimize import linear_sum_assignment

        i, j = linear_sum_assignment(cost)
        weight = np.full(len(x), 1 / len(x))
    else:
        plan = network_simplex(cost)
        i, j, weight = plan.row, plan.col, plan.data
    return Coupling(i, j, weight, float(weight @ cost[i, j]))


class Transport(NamedTuple):
    """An optimal plan (n, m), sparse, and its duals dual_f (n,), dual_g (m,).

    dual_f_i + dual_g_j <= cost_ij on all pairs that were allowed, to rounding.
    """

    plan: coo_array
    dual_f: np.ndarray
    dual_g: np.ndarray


def network_simplex(cost: np.ndarray) -> coo_array:
    """(n, m) optimal plan of uniform marginals for an (n, m) cost, by POT's network simplex; row by row.

    Raises:
        RuntimeError: optimality was not reached within the iterations allowed.
    """
    plan = _optimal(cost).plan
    order = np.lexsort((plan.col, plan.row))
    return coo_array((plan.data[order], (plan.row[order], plan.col[order])), shape=plan.shape)


def _optimal(cost: np.ndarray) -> Transport:
    """The optimum by column generation: solved on few pairs, then with those that the duals show to be missing.

    The first pairs are those that cost least beside the duals of thinned clouds. A plan is optimal on all pairs once no
    pair costs less than its duals.
    """
    (n, m), highest = cost.shape, cost.max()
    if min(n, m) < _MANY:
        return _solved(cost, highest)
    thinned = _optimal(cost[::_THINNING, ::_THINNING])
    dual_f = np.min(cost[:, ::_THINNING] - thinned.dual_g, axis=1)
    dual_g = np.zeros(m)
    for rows, reduced in _beside(cost.T, dual_g, dual_f):
        dual_g[rows] = reduced.min(axis=1)
    # The pairs of the plan that couples the particles in their order are among the first, so that there is a plan. A
    # share of the mass begins where a particle's does, in units of 1 / (n m).
    begins = np.union1d(np.arange(n) * m, np.arange(m) * n)
    kept = np.zeros((n, m), dtype=bool)
    kept[begins // m, begins // n] = True
    for rows, reduced in _beside(cost, dual_f, dual_g):
        kept[rows] |= _least(reduced)
    for rows, reduced in _beside(cost.T, dual_g, dual_f):
        kept.T[rows] |= _least(reduced)
    while True:
        pairs = np.nonzero(kept)
        found = _solved(coo_array((cost[pairs], pairs), shape=(n, m)), highest)
        for rows, reduced in _beside(cost, found.dual_f, found.dual_g):
            # On these pairs the plan is optimal already, to the rounding of the network simplex.
            reduced[kept[rows]] = np.inf
            wrong = reduced.min(axis=1) < -_ROUNDING * highest
            kept[rows][wrong] |= _least(reduced[wrong])
        if np.count_nonzero(kept) == len(pairs[0]):
            return found


def _beside(
    cost: np.ndarray, own: np.ndarray, other: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows and their cost_ij - own_i - other_j, some rows at a time: all of them would double the memory of the costs."""
    for begin in range(0, len(cost), _ROWS):
        rows = slice(begin, begin + _ROWS)
        yield rows, cost[rows] - own[rows, None] - other


def _least(reduced: np.ndarray) -> np.ndarray:
    """The lowest ``_PARTNERS`` of each row (r, m): (r, m) bool."""
    # Which these are need not be exact, and single precision is sorted in half of the time.
    partners = np.argpartition(reduced.astype(np.float32), _PARTNERS - 1, axis=1)[:, :_PARTNERS]
    found = np.zeros(reduced.shape, dtype=bool)
    np.put_along_axis(found, partners, True, axis=1)
    return found


def _solved(cost: np.ndarray | coo_array, highest: float) -> Transport:
    """The optimum of a dense or sparse cost; a sparse one forbids the pairs that it does not have."""
    import ot

    n, m = cost.shape
    # The network simplex rounds numbers of order one: below 1e-8 it would no longer tell costs apart.
    unit = highest or 1.0
    plan, log = ot.emd(
        np.full(n, 1 / n), np.full(m, 1 / m), cost / unit, numItermax=100_000_000, log=True
    )
    if log["warning"] is not None:
        raise RuntimeError(f"network simplex on {n} x {m} particles: {log['warning']}")
    return Transport(coo_array(plan), unit * log["u"], unit * log["v"])


def sinkhorn(
    x: np.ndarray,
    y: np.ndarray,
    *,
    epsilon: float,
    threshold: float = 1e-3,
    max_iterations: int = 10_000,
    dropped_mass: float = 1e-4,
) -> Coupling:
    """The entropic plan argmin <P, C> - epsilon H(P) with C = |x - y|^2, by ott-jax's Sinkhorn.

    Args:
        epsilon: regularisation, in squared length.
        threshold: largest L1 error of the marginals that counts as converged.
        max_iterations: Sinkhorn iterations allowed.
        dropped_mass: the smallest entries with at most this much mass together are not stored;
            the rest is scaled back to mass 1, so the marginals are exact to about this much in L1.

    Raises:
        RuntimeError: not converged; the message gives the error reached and what to change.
    """
    import jax
    from ott.geometry import geometry
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn as ott_sinkhorn

    cost = squared_distances(x, y)
    # ott-jax itself mixes ranks and dtypes, which strict JAX would refuse.
    ranks, dtypes = jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard")
    with jax.enable_x64(True), ranks, dtypes:
        problem = linear_problem.LinearProblem(geometry.Geometry(cost, epsilon=float(epsilon)))
        solver = ott_sinkhorn.Sinkhorn(threshold=threshold, max_iterations=max_iterations)
        output = solver(problem)
        converged, plan = bool(output.converged), np.asarray(output.matrix)
        error = float(np.abs(plan.sum(axis=0) - 1 / len(y)).sum())
    if not converged:
        raise RuntimeError(
            f"Sinkhorn on {len(x)} x {len(y)} particles did not converge: marginal error {error:.2g} after "
            f"{max_iterations} iterations, {threshold:g} is asked; raise epsilon (now {epsilon:g}) or "
            "max_iterations"
        )
    ascending = np.argsort(plan, axis=None)
    dropped = int(np.searchsorted(np.cumsum(plan.ravel()[ascending]), dropped_mass, "right"))
    i, j = np.unravel_index(np.sort(ascending[dropped:]), plan.shape)
    weight = plan[i, j] / plan[i, j].sum()
    return Coupling(i, j, weight, float(weight @ cost[i, j]))


def minibatch(
    x: np.ndarray, y: np.ndarray, *, batch: int, rounds: int, rng: np.random.Generator
) -> Coupling:
    """The mean of exact plans between random blocks, for clouds too large for one exact plan.

    In each round both clouds are cut at random into the same number of nearly equal blocks,
    and block b of one is coupled exactly with block b of the other. Within a round every
    particle is used once; its mass is that of its block, so marginals are uniform up
    to the unevenness of the blocks.

    Args:
        batch: largest number of particles in a block. rounds: number of random cuts averaged.
    """
    blocks = -(-max(len(x), len(y)) // batch)
    if min(len(x), len(y)) < blocks:
        raise ValueError(
            f"minibatch of {batch}: {blocks} blocks, but a cloud has only {min(len(x), len(y))} particles"
        )
    parts = []
    for _ in range(rounds):
        rows_x = np.array_split(rng.permutation(len(x)), blocks)
        rows_y = np.array_split(rng.permutation(len(y)), blocks)
        for rx, ry in zip(rows_x, rows_y, strict=True):
            part = exact(x[rx], y[ry])
            parts.append((rx[part.i], ry[part.j], part.weight / (blocks * rounds)))
    i, j, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    cost = np.sum((x[i] - y[j]) ** 2, axis=1)
    return Coupling(i, j, weight, float(weight @ cost))


def couple(x: np.ndarray, y: np.ndarray, settings: Mapping, rng: np.random.Generator) -> Coupling:
    """The coupling that ``settings`` describe: their ``kind`` is exact, sinkhorn or minibatch."""
    options = {name: value for name, value in settings.items() if name != "kind"}
    match settings["kind"]:
        case "exact":
            return exact(x, y, **options)
        case "sinkhorn":
            return sinkhorn(x, y, **options)
        case "minibatch":
            return minibatch(x, y, rng=rng, **options)
        case kind:
            raise ValueError(f"coupling kind is {kind!r}; it must be exact, sinkhorn or minibatch")


class CoupledRows(NamedTuple):
    """Couplings of all neighbouring train snapshots of all seeds, as one table.

    Attributes:
        s: (p,) int, position of the seed. k: (p,) int, interval, from snapshot k to k + 1.
        i: (p,) int, row of the particle in snapshot k. j: (p,) int, row in snapshot k + 1.
        weight: (p,) mass of the pair; sums to 1 for each (s, k).
        cost: (S, K-1) transport cost of each coupling.
    """

    s: np.ndarray
    k: np.ndarray
    i: np.ndarray
    j: np.ndarray
    weight: np.ndarray
    cost: np.ndarray


def of_seed(rows: CoupledRows, snapshots: Snapshots, s: int) -> CoupledRows:
    """The pairs of the ``s``-th seed.

    Raises:
        ValueError: they hold a row that is not a train row of the seed.
    """
    here = rows.s == s
    found = CoupledRows(*(column[here] for column in rows[:-1]), rows.cost)
    if not (snapshots.train[s, found.i].all() and snapshots.train[s, found.j].all()):
        raise ValueError(
            f"the coupling of seed {snapshots.seed[s]} holds rows that are not train rows"
        )
    return found


def by_interval(rows: CoupledRows) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """i, j and weight of the pairs of each interval, for the rows of one seed."""
    parts = [rows.k == k for k in range(rows.cost.shape[1])]
    return [(rows.i[part], rows.j[part], rows.weight[part]) for part in parts]


def couple_snapshots(snapshots: Snapshots, settings: Mapping, report=print) -> CoupledRows:
    """Couple every pair of neighbouring train snapshots of every seed."""
    intervals = len(snapshots.time) - 1
    cost = np.empty((len(snapshots.seed), intervals))
    columns = []
    for s, k in np.ndindex(cost.shape):
        rows_x, rows_y = snapshots.rows(s, "train", k), snapshots.rows(s, "train", k + 1)
        rng = np.random.default_rng([int(snapshots.seed[s]), k, _STREAM])
        plan = couple(snapshots.x[rows_x], snapshots.x[rows_y], settings, rng)
        cost[s, k] = plan.cost
        p = len(plan.weight)
        columns.append((np.full(p, s), np.full(p, k), rows_x[plan.i], rows_y[plan.j], plan.weight))
        report(f"seed {snapshots.seed[s]} interval {k}: {p} pairs, cost {plan.cost:.6g}")
    return CoupledRows(*(np.concatenate(column) for column in zip(*columns, strict=True)), cost)


def save(rows: CoupledRows, path: str | Path) -> None:
    """Write the named arrays to an npz file."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **rows._asdict())


def load(path: str | Path) -> CoupledRows:
    """Read coupled rows written by :func:`save`."""
    with np.load(path, allow_pickle=False) as file:
        return CoupledRows(**{name: file[name] for name in CoupledRows._fields})
