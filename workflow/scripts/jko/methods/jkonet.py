"""JKOnet: a potential whose JKO steps predict the next snapshots
(Bunne et al. 2022; jkonet_star eq. 4, appendix E).

The outer problem descends, over the networks of V,

    mean_k D(T_k # mu_k, rho_{k+1}),    T_k = argmin_T E_{mu_k} [V(T(x)) + |T(x) - x|^2 / (2 tau_k)]

with mu_k the prediction of snapshot k from the first one on or, with ``teacher_forcing``, the observed rho_k. D is
the Sinkhorn loss or the debiased divergence (:mod:`jko.divergences`), on batches. The inner problem
(:mod:`jko.jko_maps`) is solved for the gradient of an input-convex network, for an MLP with or without a
Monge gap, or exactly.

``units: raw`` is as published: V and the maps in the units of the data, every inner loop from new
random maps. In raw units of a short tau, a JKO step is small beside what a hundred steps of Adam
leave of a new map. ``units: standard`` is that of the other methods
(:mod:`jko.batches`); the maps then speak of velocities. ``warm_start`` begins the loop of an interval where
the last one ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial
from optax import GradientTransformation

from jko import batches, jko_maps, neural
from jko.batches import Clouds
from jko.divergences import LOSSES
from jko.energies import Energy
from jko.jko_maps import Loop, Reach, Step
from jko.methods import Fit, Problem
from jko.pairs import standardise
from jko.training import (
    GradientState,
    Update,
    adam,
    checkpoints,
    descend,
    first_state,
    run,
    start_and_batch_keys,
)

# Seeds the order of the particles apart from every other use of a dataset's seeds.
_STREAM = 11


class Known(NamedTuple):
    """What is known of the K-1 intervals of one seed, in the units of the training.

    Attributes:
        h, end: (K-1,) lengths of the steps and times at their ends. reach: (K-1,) of the maps.
        epsilon: () of D, a squared length. monge_gap: () its weight in the inner problem.
        unit: () squared length in which the outer loss is counted.
    """

    h: Array
    end: Array
    reach: Reach
    epsilon: Array
    monge_gap: Array
    unit: Array


class State(NamedTuple):
    """The networks of V, and the map of every interval where the last inner loops ended."""

    energy: GradientState
    maps: Mapping


class Predicted(NamedTuple):
    """What one energy makes of a batch.

    Attributes:
        clouds: z (K-1, m, d), weight (K-1, m). maps: of the intervals, as their loops ended.
        slope: (K-1,) how far each inner problem is from solved, |grad J| / h.
    """

    clouds: Clouds
    maps: Mapping
    slope: Array


def predict(
    nets: Mapping,
    maps: Mapping,
    batch: Clouds,
    known: Known,
    settings: Mapping,
    loop: Loop,
    key: Array,
) -> Predicted:
    """JKO steps of a batch, z (m, K, d) and weight (m, K), from the maps of the intervals on."""
    observed = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), batch)  # K first
    steps = len(known.h)
    gap = jnp.broadcast_to(known.monge_gap, steps)
    inputs = maps, known.h, known.end, known.reach, gap, jax.random.split(key, steps)

    def one(cloud, theta, h, end, reach, gap, key):
        return jko_step(nets, theta, Step(cloud, h, end, reach, gap), settings, loop, key)

    if settings["teacher_forcing"]:
        return jax.vmap(one)(jax.tree.map(lambda leaf: leaf[:-1], observed), *inputs)

    def onward(cloud, inputs):
        found = one(cloud, *inputs)
        return found.clouds, found

    return jax.lax.scan(onward, jax.tree.map(lambda leaf: leaf[0], observed), inputs)[1]


def jko_step(
    nets: Mapping, theta: Mapping, step: Step, settings: Mapping, loop: Loop, key: Array
) -> Predicted:
    """One JKO step of a cloud: its cloud, map and slope, from ``theta`` or a new map on."""
    if settings["map"] == "proximal":
        return Predicted(jko_maps.proximal(neural.v, nets, step), {}, jnp.zeros(()))
    if not settings["warm_start"]:
        theta = jko_maps.init(key, settings["map"], step.cloud.z.shape[1], settings["map_hidden"])
    solve = jko_maps.GRADIENTS[settings["gradient"]]
    found = solve(neural.v, loop, jax.lax.stop_gradient(theta), nets, step)
    ended = jax.lax.stop_gradient((found, nets, step))
    slope = jko_maps.slope(neural.v, loop, *ended)
    return Predicted(jko_maps.moved(found, step), ended[0], slope)


def update_of(settings: Mapping, loop: Loop, optimizer: GradientTransformation) -> Update:
    """One step of the outer problem.

    The numbers: loss, the mean of D over the intervals in standard units in units of the mean squared step of a
    coordinate, in raw units as it is; slope, how far the inner problems are from
    solved; unconverged, the share of intervals where a Sinkhorn loop did not reach its threshold.
    """
    distance = jax.vmap(LOSSES[settings["loss"]], in_axes=(0, 0, None))

    def outer(nets, maps, batch, known, key):
        found = predict(nets, maps, batch, known, settings, loop, key)
        goals = jax.tree.map(lambda leaf: jnp.moveaxis(leaf[:, 1:], 1, 0), batch)
        loss = distance(found.clouds, goals, known.epsilon)
        numbers = {
            "slope": jnp.mean(found.slope),
            "unconverged": 1 - jnp.mean(loss.converged.astype(jnp.float32)),
        }
        return jnp.mean(loss.value) / known.unit, (found.maps, numbers)

    def update(state: State, batch: Clouds, known: Known, key: Array):
        (loss, (maps, numbers)), gradient = jax.value_and_grad(outer, has_aux=True)(
            state.energy.params, state.maps, batch, known, key
        )
        energy = descend(state.energy, gradient, optimizer)
        return State(energy, maps), {"loss": loss} | numbers

    return update


def fit(problem: Problem, settings: Mapping, report=print) -> Fit:
    """Train one potential per seed; seeds are independent and run as one program.

    Raises:
        ValueError: the loop of a map ends by a tolerance and is to be unrolled, the Monge gap is asked of
            no MLP, or the particles have no extent.
    """
    check(settings)
    snapshots = problem.snapshots
    rows = batches.rows_of(snapshots, settings["batch"])
    of_seed = [prepared(problem, s, rows, settings) for s in range(len(snapshots.seed))]
    data, known, units = jax.tree.map(lambda *leaves: jnp.stack(leaves), *of_seed)

    optimizer = adam(
        settings["learning_rate"],
        settings["epochs"] * rows // settings["batch"],
        settings["schedule"],
        settings["clip"],
    )
    loop = loop_of(settings)
    start_keys, batch_keys = start_and_batch_keys(snapshots.seed)
    options = ["potential"], settings["time_varying"], settings["hidden"]
    energy = first_state(
        lambda key: neural.init(key, snapshots.dimension, *options), optimizer, start_keys
    )
    trained = run(
        update_of(settings, loop, optimizer),
        State(energy, first_maps(settings, snapshots.dimension, len(snapshots.tau), start_keys)),
        data,
        batch_keys,
        epochs=settings["epochs"],
        batch=settings["batch"],
        loss_limit=settings["loss_limit"],
        shared=known,
        keep=checkpoints(settings["epochs"], settings["checkpoints"]),
        report=report,
    )

    def params_of(state: State) -> dict:
        reach = known.reach._asdict()
        return {"nets": state.energy.params, "units": units, "maps": state.maps, "reach": reach}

    kept = {epoch: params_of(state) for epoch, state in trained.kept.items()}
    return Fit(params_of(trained.state), trained.status(), trained.history(snapshots.seed), kept)


def loop_of(settings: Mapping) -> Loop:
    """How the settings have the inner problem solved; Adam with the moments of jkonet_star appendix E."""
    return Loop(
        optax.adam(settings["map_learning_rate"], b1=0.5, b2=0.9),
        settings["inner_steps"],
        settings["tolerance"],
        settings["monge_gap"] > 0,
        settings["damping"],
        settings["solves"],
    )


def check(settings: Mapping) -> None:
    """Refuse settings that contradict each other."""
    unrolled = settings["gradient"] == "unrolled" and settings["map"] != "proximal"
    if settings["tolerance"] > 0 and unrolled:
        raise ValueError(
            "tolerance of jkonet is above 0 and gradient is unrolled; a loop of unknown length cannot be "
            "unrolled: take gradient implicit, or tolerance 0"
        )
    if settings["monge_gap"] > 0 and settings["map"] != "mlp":
        raise ValueError(
            f"monge_gap of jkonet is above 0 and map is {settings['map']}; it regularises the map mlp: take "
            "that, or monge_gap 0"
        )


def first_maps(settings: Mapping, dimension: int, intervals: int, keys: Array) -> Mapping:
    """Random maps of every interval and seed, leading axes (S, K-1); none for proximal points."""
    if settings["map"] == "proximal":
        return {}

    def one(key):
        return jko_maps.init(key, settings["map"], dimension, settings["map_hidden"])

    of_interval = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, 1), intervals))
    return jax.jit(jax.vmap(jax.vmap(one)))(of_interval(keys))


def prepared(
    problem: Problem, s: int, rows: int, settings: Mapping
) -> tuple[Clouds, Known, dict[str, np.ndarray]]:
    """The clouds in so many rows, the intervals and the units of the ``s``-th seed."""
    snapshots = problem.snapshots
    clouds = snapshots.clouds(s, "train")
    units = batches.units_of(clouds, snapshots.time, snapshots.tau)
    standard = settings["units"] == "standard"
    if not standard:
        units |= {"center": np.zeros(snapshots.dimension), "width": 1.0, "scale": 1.0}
    width, scale = units["width"], units["scale"]
    h = snapshots.tau * scale / width**2
    time = (snapshots.time - units["time_center"]) / units["time_width"]
    one = np.ones_like(h)
    known = Known(
        h=h,
        end=time[1:],
        reach=Reach(network=h, identity=one) if standard else Reach(one, 0 * one),
        epsilon=settings["epsilon"] / width**2,
        monge_gap=settings["monge_gap"] * width**2 / scale,
        unit=np.mean(h**2) if standard else 1.0,
    )
    rng = np.random.default_rng([int(snapshots.seed[s]), _STREAM])
    clouds = [(cloud - units["center"]) / width for cloud in clouds]
    found = batches.side_by_side(clouds, rows, rng), known, units
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), found)


def energy(params: Mapping, settings: Mapping) -> Energy:
    """The learned energy."""
    return neural.energy(params)


def transport(params: Mapping, settings: Mapping) -> Partial | None:
    """T(x, k), which takes a particle x (d,) of snapshot k to snapshot k + 1, as the last inner loop left it;
    None for proximal points.
    """
    return None if settings["map"] == "proximal" else Partial(_transported, params)


def _transported(params: Mapping, x: Array, k: Array) -> Array:
    units = params["units"]
    z, _ = standardise(units, x, units["time_center"])
    theta, reach = jax.tree.map(lambda leaf: leaf[k], (params["maps"], params["reach"]))
    return units["center"] + units["width"] * jko_maps.transport(theta, z, Reach(**reach))
