"""Weak form of a neural V: a network in place of trial functions, under the same test functions and noise.

The residuals r of :mod:`jko.weak` over all intervals, N of them, have the mean 0 and the covariance S at the true energy. Every
snapshot is cut into two halves, anew in every step, with the residuals r_A and r_B:

    loss = |r_A + r_B|^2 / (4 N) - min(|r_A - r_B|^2 / (4 N), 1),    |r|^2 = r^T S^{-1} r.

The first term is chi^2 / N of the whole, from which the second takes what samples see of themselves: without the bound the loss is
r_A^T S^{-1} r_B / N, a U-statistic, whose mean is the square of the mean residual, 0 at the true energy alone as far as the test
functions tell. The bound, which is the mean of the second term at the true energy, keeps a network from moving single
particles so far that the halves differ without end; it raises the mean of the loss there by at most 0.4 (2 / N)^{1/2}.

Below 0 a network follows the noise of the one population that there is. So a seed is taken where the mean loss since the
last checkpoint is 0 or less for the first time, which sees no truth; there is no other regularisation. The training ends
where every seed is taken or lost.

With an entropy beta goes in every step a share of the way to where the U-statistic is least, with r linearised in beta,

    beta <- max(beta - share (r_A^T S^{-1} r'_B + r'_A^T S^{-1} r_B) / 2 / |(r'_A + r'_B) / 2|^2, 0),    r' = dr / dbeta,

beside the step of the optimiser for V; the denominator is that of the whole, which cannot vanish or change its sign. Steps of
one size, as for a weight of the network, would be too large for a small beta and too small for a large one.

S is that of particles at rest: where V or beta spread them by far, chi^2 stays above N at the true energy too, and the training goes
on to its last step. With ``time_varying`` the network is V(x, t), with t the start of an interval, as the residual
is that of an explicit step.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.linalg import solve_triangular

from jko import batches, heat, neural, trials, weak
from jko.batches import Clouds
from jko.energies import Energy
from jko.features import features, monomials, smoothed_features
from jko.methods import Fit, Problem
from jko.slopes import of_all
from jko.training import adam, first_state, gradient_update, run, start_and_batch_keys

# Of the way to the best beta: a mean over the last twenty cuts into halves or so.
_SHARE = 0.1


class Means(NamedTuple):
    """What is known of the means of one seed, in standardised units.

    Attributes:
        tests: basis of phi, m of them. level: (m,) their means over all particles, without which sums in single precision
            are exact enough. whiten: (N, N) with whiten^T whiten = S^{-1}, N = (K-1) m.
        h: (K-1,) step lengths. time: (K-1,) starts of the intervals.
    """

    tests: Mapping
    level: Array
    whiten: Array
    h: Array
    time: Array


def residuals(nets: Mapping, beta: Array | None, cloud: Clouds, known: Means) -> Array:
    """Residuals of a sample of every snapshot in white units: (N,).

    Args:
        nets: of V. beta: () in units of scale, None without an entropy.
        cloud: z (P, K, d), weight (P, K).
    """

    def mean(phi, z, weight):
        return weight @ (jax.vmap(phi)(z) - known.level[None, :]) / jnp.sum(weight)

    def test(z):
        return features(known.tests, z)

    def interval(before, after, h, t):
        def ahead(z):
            moved = z - h * jax.grad(neural.v, argnums=1)(nets, z, t)
            return test(moved) if beta is None else smoothed_features(known.tests, moved, h * beta)

        return mean(test, *after) - mean(ahead, *before)

    before, after = (Clouds(*(leaf[:, part] for leaf in cloud)) for part in (np.s_[:-1], np.s_[1:]))
    found = jax.vmap(interval, in_axes=(1, 1, 0, 0))(before, after, known.h, known.time)
    return known.whiten @ found.ravel()


def halves(cloud: Clouds) -> list[Clouds]:
    """A and B, the first and the second half of the rows."""
    half = len(cloud.z) // 2
    return [Clouds(*(leaf[part] for leaf in cloud)) for part in (np.s_[:half], np.s_[half:])]


def loss(params: Mapping, cloud: Clouds, known: Means, key: Array) -> Array:
    """The loss of a shuffled cloud, for the gradient by the network alone; the key is not used."""
    beta = jax.lax.stop_gradient(params.get("beta"))
    first, second = (residuals(params["nets"], beta, half, known) for half in halves(cloud))
    both, apart = (jnp.sum(r**2) / (4 * len(r)) for r in (first + second, first - second))
    return both - jnp.minimum(apart, 1)


def next_beta(params: Mapping, cloud: Clouds, known: Means) -> Array:
    """The next beta () by a shuffled cloud, in units of scale."""

    def linear(half):
        values = partial(residuals, params["nets"], cloud=half, known=known)
        return jax.jvp(values, (params["beta"],), (jnp.ones(()),))

    (first, d_first), (second, d_second) = map(linear, halves(cloud))
    slope = (first @ d_second + d_first @ second) / 2
    change = slope / jnp.sum(((d_first + d_second) / 2) ** 2)
    return jnp.maximum(params["beta"] - _SHARE * change, 0)


def known_of(
    snapshots, s: int, rows: int, settings: Mapping
) -> tuple[tuple[Clouds, Means, dict], str]:
    """The train particles, in so many rows with weight 0 where there is none, the means and the units of one seed; and "", or
    why there is no noise of the means, whose ``whiten`` is then NaN, as every loss.

    Raises:
        ValueError: as :func:`jko.weak.noise` and :func:`jko.batches.units_of`.
    """
    clouds = snapshots.clouds(s, "train")
    units = batches.units_of(clouds, snapshots.time, snapshots.tau)
    clouds = [(cloud - units["center"]) / units["width"] for cloud in clouds]
    room, d = int(settings["largest_share"] * min(map(len, clouds))), snapshots.dimension
    factors = monomials(d, settings["degree"], min(settings["max_polynomials"], room - 2))
    count = max(2, min(settings["centers"], room - len(factors)))
    tests = {
        "monomials": factors,
        "centers": np.zeros((count, d)),
        "sigma": np.ones(count),
        "waves": np.zeros((0, d)),
    }
    level, cause = np.zeros(len(factors) + count), ""
    try:
        if not all(np.isfinite(cloud).all() for cloud in clouds):
            raise np.linalg.LinAlgError("train particles are not finite numbers")
        tests = trials.tests(
            clouds, factors, count, 0, settings["test_widths"], int(snapshots.seed[s])
        )
        still = [of_all(np.zeros((*cloud.shape, 1))) for cloud in clouds]
        white = weak.noise(weak.Population(clouds, snapshots.tau, still, False), tests, np.zeros(1))
        whiten = solve_triangular(white.factor, np.diag(1 / white.scale), lower=True)
        level = heat.values(tests, np.concatenate(clouds)).mean(axis=0)
    except np.linalg.LinAlgError as error:
        cause = str(error)
        whiten = np.full(2 * [len(snapshots.tau) * len(level)], np.nan)
    filled = [np.pad(cloud, [(0, rows - len(cloud)), (0, 0)]) for cloud in clouds]
    weight = [np.arange(rows) < len(cloud) for cloud in clouds]
    h = snapshots.tau * units["scale"] / units["width"] ** 2
    time = (snapshots.time[:-1] - units["time_center"]) / units["time_width"]
    data = Clouds(np.stack(filled, axis=1), np.stack(weight, axis=1).astype(float))
    return jax.tree.map(batches.single, (data, Means(tests, level, whiten, h, time), units)), cause


def fit(problem: Problem, settings: Mapping, report=print) -> Fit:
    """Train one potential per seed; seeds are independent and run as one program.

    Raises:
        ValueError: a snapshot has too few train particles for the test functions, or no extent.
    """
    snapshots, steps = problem.snapshots, settings["steps"]
    rows = batches.rows_of(snapshots, 2)
    seeds = range(len(snapshots.seed))
    of_seed, causes = zip(*(known_of(snapshots, s, rows, settings) for s in seeds), strict=True)
    data, known, units = jax.tree.map(lambda *leaves: np.stack(leaves), *of_seed)
    optimizer = adam(settings["learning_rate"], steps, settings["schedule"], settings["clip"])
    start_keys, batch_keys = start_and_batch_keys(snapshots.seed)
    options = ["potential"], settings["time_varying"], settings["hidden"]
    beta = {"beta": jnp.zeros(())} if "entropy" in settings["terms"] else {}
    descent = gradient_update(loss, optimizer)

    def update(state, cloud, known, key):
        new, numbers = descent(state, cloud, known, key)
        if beta:
            numbers["beta"] = next_beta(state.params, cloud, known)
            new = new._replace(params=new.params | {"beta": numbers["beta"]})
        return new, numbers

    marks = np.unique(np.linspace(0, steps, settings["checkpoints"] + 1, dtype=int))
    trained = run(
        update,
        first_state(
            lambda key: {"nets": neural.init(key, snapshots.dimension, *options)} | beta,
            optimizer,
            start_keys,
        ),
        data,
        batch_keys,
        epochs=steps,
        batch=rows,
        loss_limit=settings["loss_limit"],
        shared=known,
        keep=marks[1:].tolist(),
        until=lambda means: all(
            ended(losses, marks) or not (np.abs(losses) <= settings["loss_limit"]).all()
            for losses in means["loss"]
        ),
        report=report,
    )
    status, taken = [], []
    for s, failed in enumerate(trained.failed_step):
        mark = ended(trained.means["loss"][s], marks if failed < 0 else marks[marks <= failed])
        # What comes after the step that is taken does not matter.
        status.append("ok" if mark else trained.status()[s])
        taken.append(mark or max(trained.kept))
        if causes[s]:
            status[s] = f"not solved: {causes[s]}"
        report(f"seed {snapshots.seed[s]}: {status[s]}, taken after step {taken[s]}")
    found = [
        jax.tree.map(lambda leaf, s=s: leaf[s], trained.kept[int(mark)].params)
        for s, mark in enumerate(taken)
    ]
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *found) | {"units": units}
    if beta:
        means = trained.means | {"beta": units["scale"][:, None] * trained.means["beta"]}
        trained = trained._replace(means=means)
    return Fit(params, status, trained.history(snapshots.seed))


def ended(losses: np.ndarray, marks: np.ndarray) -> int | None:
    """The first mark with a mean loss of 0 or less since the one before, if there is one.

    Args:
        losses: (steps,) so far. marks: numbers of steps, from 0 on.
    """
    marks = marks[marks <= len(losses)]
    for before, mark in zip(marks[:-1], marks[1:], strict=True):
        if losses[before:mark].mean() <= 0:
            return int(mark)
    return None


def energy(params: Mapping, settings: Mapping) -> Energy:
    """The learned energy."""
    found = neural.energy(params)
    if "entropy" in settings["terms"]:
        found = found._replace(beta=params["units"]["scale"] * params["beta"])
    return found
