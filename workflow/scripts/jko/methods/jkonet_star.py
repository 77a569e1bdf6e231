"""JKOnet*: learn an energy from the first-order condition of the JKO step
(jkonet_star eqs. 9 and 11).

For every pair (x, y) of the coupling of rho_k and rho_{k+1}, at its point p of the snapshot rho,

    r(p) = grad V(p, t) + (grad W * rho)(p) + beta grad log rho(p) + (y - x) / tau

is zero; the loss is the sum over the intervals of E |r|^2 under the coupling.
The point is y and the snapshot rho_{k+1} in the paper's implicit condition,
x and rho_k in the explicit one, and anywhere on a curve through coupled particles in the flow, whose
(y - x) / tau is the velocity there (:mod:`jko.pairs`). ``terms`` says which of
V, W (both MLPs; V may depend on time, remark 3.3) and beta are learned:

- (grad W * rho)(p) is the mean of grad W(p - q) over the other train particles q of the snapshot.
  Each step draws two independent sets of ``partners`` from them and takes r_1 . r_2, whose mean
  is the square of the mean. |r|^2 of one set of m would exceed it by Var grad W(p - q) / m,
  and so prefer a W that is too flat. A batch's r_1 . r_2 may be negative.
  A simulation and a prediction take the mean over all n particles, the particle itself among them: (1 - 1/n) times the mean
  over the others if grad W(0) = 0, as for an even W.
- grad log rho is that of the density of the snapshot, taken at all points
  once, before the training.

Of the terms only the sum is observed, and only where particles were:

- V and W are known up to constants, and W at the distances between particles of one snapshot.
- V and W differ by how the pull at a place changes with the population around it.
  Adding a |z|^2 / 2 to W and taking a |x - c|^2 / 2 off V changes r by
  a (c - mean of the population) only: the motion of the mean decides, direction by direction,
  and where particles of several snapshots meet. The sampling error of the means,
  divided by tau, counts as such a motion: of few snapshots drawn independently,
  V + W * rho is learned far better than either of the two.
- beta log rho of a stationary population is one more potential; that of Gaussians of one covariance
  is one more quadratic W. beta inherits the error of the density.
- V(x, t) can be W * rho + beta log rho at every t: with ``time_varying`` only
  the sum means something.

A coupling of noisy particles biases beta. Its equation takes E s . (y - x), s = grad log rho at the point; to second
order, with H the Hessian of log rho and the upper sign for explicit steps,

    E s . (y - x) = E log rho(y) - E log rho(x) -+ E (y - x)^T H (y - x) / 2.

The difference is one of the two populations, whatever the coupling. The last term is the spread that the coupling gives to its
pairs: of N(m, sigma^2 I) in d dimensions, a coupling of cost c, and beta learned alone, beta_hat = beta -+ c / (2 d tau). Hence

- the joint law of the process, c = 2 d beta tau, gives 0 by explicit steps and 2 beta by implicit ones; the optimal coupling of
  the laws, c = O(tau^2), gives beta up to O(tau);
- the optimal coupling of two independent samples of n particles costs some sigma^2 n^(-2 / d) more (d > 2; log n / n for d = 2),
  however small tau is, and over tau this soon exceeds beta;
- a score estimated from the coupled particles turns with their noise, which the coupling of independent samples carries away:
  each moment that the density takes from its sample moves E s . (y - x) by -+ 1 / n, and so beta_hat up by explicit steps and down
  by implicit ones.

Beside V, s is the part of the score that V cannot carry, and each feature of V is biased by its own Hessian. Differences of means
have no spread of pairs, and what their samples see of themselves can be taken off (:mod:`jko.weak`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jko import densities, neural
from jko.energies import Energy
from jko.methods import Fit, Problem
from jko.pairs import (
    Clouds,
    Pairs,
    coupled_pairs,
    curve_pairs,
    in_units,
    places,
    train_clouds,
    units_of,
)
from jko.training import (
    GradientState,
    adam,
    checkpoints,
    first_state,
    gradient_update,
    pad_rows,
    run,
    start_and_batch_keys,
)


class Rows(NamedTuple):
    """What the loss knows of coupled pairs, in standardised units; None for what no term asks for.

    Attributes:
        pairs: points, times, wanted gradients and weights.
        k, place: (...) snapshot of the point, and its place among the train particles there.
        score: (..., d) grad log rho at the point.
    """

    pairs: Pairs
    k: Array | None = None
    place: Array | None = None
    score: Array | None = None


def energy(params: Mapping, settings: Mapping) -> Energy:
    """The learned energy."""
    return neural.energy(params)


def residual(nets: Mapping, row: Rows, partners: Array | None = None) -> Array:
    """r at the point of one pair: (d,), in units of scale / width.

    Args:
        partners: (m, d) particles whose mean stands for the snapshot's; used with an interaction.
    """
    z, t, target, _ = row.pairs
    gradient = jax.grad(neural.v, argnums=1)(nets, z, t)
    if "interaction" in nets:
        pulls = jax.vmap(jax.grad(neural.w, argnums=1), in_axes=(None, 0))
        gradient = gradient + jnp.mean(pulls(nets, z[None, :] - partners), axis=0)
    if "entropy" in nets:
        gradient = gradient + neural.b(nets) * row.score
    return gradient - target


def square(nets: Mapping, row: Rows, sets: Array | None = None) -> Array:
    """|r|^2 of one pair; with an interaction r_1 . r_2 of two sets of partners (2, m, d)."""
    if "interaction" not in nets:
        return jnp.sum(residual(nets, row) ** 2)
    first, second = jax.vmap(residual, in_axes=(None, None, 0))(nets, row, sets)
    return first @ second


def draw(clouds: Clouds, row: Rows, key: Array, partners: int) -> Array:
    """Two independent sets of other particles of the snapshot of a point: (2, partners, d)."""
    others = clouds.size[row.k] - 1
    index = jax.random.randint(key, (2, partners), 0, others)
    return clouds.x[row.k, jnp.where(index < row.place, index, index + 1)]


def loss(nets: Mapping, rows: Rows, clouds: Clouds, key: Array, partners: int) -> Array:
    """Weighted mean of :func:`square` over a batch, with partners drawn from the clouds."""
    if "interaction" in nets:
        keys = jax.random.split(key, len(rows.pairs.weight))
        sets = jax.vmap(draw, in_axes=(None, 0, 0, None))(clouds, rows, keys, partners)
        squares = jax.vmap(square, in_axes=(None, 0, 0))(nets, rows, sets)
    else:
        squares = jax.vmap(square, in_axes=(None, 0))(nets, rows)
    return jnp.mean(rows.pairs.weight * squares)


def pairs_of(problem: Problem, settings: Mapping, s: int) -> Pairs:
    """Points and wanted gradients of the ``s``-th seed for the scheme of the settings."""
    if settings["scheme"] == "flow":
        return curve_pairs(problem.snapshots, problem.coupling, s, settings["curve"])
    return coupled_pairs(problem.snapshots, problem.coupling, s, settings["scheme"])


def rows_of(problem: Problem, settings: Mapping, s: int, pairs: Pairs, units: Mapping) -> Rows:
    """The rows of the ``s``-th seed for its ``pairs`` of :func:`pairs_of`."""
    rows = Rows(in_units(pairs, units))
    if set(settings["terms"]) & {"interaction", "entropy"}:
        k, place = places(problem.snapshots, problem.coupling, s, settings["scheme"])
    if "interaction" in settings["terms"]:
        rows = rows._replace(k=k, place=place)
    if "entropy" in settings["terms"]:
        score = densities.scores(problem.density, problem.snapshots, s, k, place)
        rows = rows._replace(score=units["width"] * score)
    return rows


def fit(problem: Problem, settings: Mapping, report=print) -> Fit:
    """Train one energy per seed; seeds are independent and run as one program.

    Raises:
        ValueError: the entropy is to be learned without a density, or more than a potential by the flow.
    """
    terms, snapshots = settings["terms"], problem.snapshots
    if "entropy" in terms and problem.density is None:
        raise ValueError(
            "terms of jkonet_star hold entropy, which needs the density of the snapshots; the setting "
            "density must name an entry under densities"
        )
    if settings["scheme"] == "flow" and terms != ["potential"]:
        raise ValueError(
            f"terms of jkonet_star are {', '.join(terms)}; the scheme flow learns the potential alone, as there are no "
            "populations between the snapshots"
        )
    start_keys, batch_keys = start_and_batch_keys(snapshots.seed)

    pairs = [pairs_of(problem, settings, s) for s in range(len(snapshots.seed))]
    units = [units_of(of_seed, snapshots.time) for of_seed in pairs]
    rows = [rows_of(problem, settings, s, pairs[s], units[s]) for s in range(len(snapshots.seed))]
    data = jax.tree.map(
        lambda *columns: jnp.asarray(pad_rows(list(columns), settings["batch"])), *rows
    )
    # Filling rows have weight zero; the others are raised so that the mean over all rows stays 1.
    weight = data.pairs.weight / jnp.mean(data.pairs.weight, axis=1, keepdims=True)
    data = data._replace(pairs=data.pairs._replace(weight=weight))
    clouds = ()
    if "interaction" in terms:
        clouds = Clouds(*map(jnp.asarray, train_clouds(snapshots, units)))

    optimizer = adam(
        settings["learning_rate"],
        settings["epochs"] * weight.shape[1] // settings["batch"],
        settings["schedule"],
        settings["clip"],
    )
    options = terms, settings["time_varying"], settings["hidden"]
    trained = run(
        gradient_update(partial(loss, partners=settings["partners"]), optimizer),
        first_state(
            lambda key: neural.init(key, snapshots.dimension, *options), optimizer, start_keys
        ),
        data,
        batch_keys,
        epochs=settings["epochs"],
        batch=settings["batch"],
        loss_limit=settings["loss_limit"],
        shared=clouds,
        keep=checkpoints(settings["epochs"], settings["checkpoints"]),
        report=report,
    )
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *units)
    kept = {
        epoch: {"nets": state.params, "units": stacked} for epoch, state in trained.kept.items()
    }
    params = {"nets": trained.state.params, "units": stacked}
    return Fit(params, trained.status(), trained.history(snapshots.seed), kept)
