"""iJKOnet: inverse optimisation over the JKO scheme (ijkonet eqs. 10, 11 and 14).

The JKO step of the true energy is minimised by the next snapshot. For any energy F the gap

    G(F) = sum_k min_T [F(T#rho_k) + E_{rho_k} |x - T(x)|^2 / (2 tau_k)] - F(rho_{k+1})
           - W2^2(rho_k, rho_{k+1}) / (2 tau_k)

is therefore at most zero, and zero for the true one. Between samples, W2^2 is larger than between
the populations, and the gap of the true energy as much smaller. Two players find it: a transport
map T(x, k) descends the bracket, ``map_steps`` steps of Adam for each one by which the energy
ascends the gap. The terms of F:

- V: E V(T(x)) - E V(y), with x from rho_k and y from rho_{k+1}.
- W: half the mean of W over pairs of *different* particles of a batch, a U-statistic. The
  V-statistic, which also pairs each particle with itself, has the mean (1 - 1/m) of it plus W(0) /
  (2m) for a batch of m; W(0) cancels in the gap. ``diagonal`` takes that one instead, for
  comparison.
- beta int rho log rho = -beta H, with H(T#rho) = H(rho) + E log|det grad T| (eq. 13); the entropies
  H of the snapshots are estimated once, by nearest neighbours.

``scheme: explicit`` plays the game backwards in time: an explicit step y = x - tau grad V(x) is the
implicit step x = y + tau grad V(x) of -F from rho_{k+1} to rho_k, so that for -F and reversed
snapshots the same gap is zero. An explicit step of the entropy is ill-posed, as the heat equation
backwards is; this scheme has no entropy.

With a ``start`` the game begins at the V that another method has learned of the same particles: the network of V is fitted to
its gradient there, and that of the map to the step that this V makes, to first order in h (:mod:`jko.distillation`).

All is standardised (:mod:`jko.neural`). With h_k = tau_k speed / width, a typical displacement in
standardised units, the map is T(z, k) = z + h_k u(z, t_k) with one network u for all intervals, and
the bracket divided by the unit of energy is v(T) + h_k |u|^2 / 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array
from jax.tree_util import Partial
from optax import GradientTransformation

from jko import batches, distillation, halves, neural
from jko.batches import Clouds
from jko.densities import knn_entropy
from jko.energies import Energy
from jko.methods import Fit, Problem
from jko.networks import MLP, apply_mlp, log_det
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
_STREAM = 6


class Intervals(NamedTuple):
    """What is known of the K-1 intervals of one seed, in standardised units.

    Attributes:
        h: (K-1,) step lengths. start, end: (K-1,) times. entropy: (K,) H of the snapshots, 0
            without the entropy term. cost: () sum of W2^2 / (2 h) over the intervals.
    """

    h: Array
    start: Array
    end: Array
    entropy: Array
    cost: Array


class Players(NamedTuple):
    """The state of the game: the networks of the energy and of the map."""

    energy: GradientState
    map: GradientState


class Moved(NamedTuple):
    """F of the moved snapshots, and the transport, each summed over the intervals, in units of the energy."""

    moved: Array
    transport: Array


def velocity(net: Mapping, z: Array, t: Array) -> Array:
    """u(z, t): (d,), the displacement in units of h of a particle z (d,) of the snapshot at t."""
    return apply_mlp(net, jnp.append(z, t), z.size, nn.selu)


def _velocity_at(net: Mapping, t: Array, z: Array) -> Array:
    return velocity(net, z, t)


def moved_terms(
    nets: Mapping, net: Mapping, batch: Clouds, known: Intervals, settings: Mapping, key: Array
) -> Moved:
    """What the gap holds of the snapshots that the map moves, on a batch.

    moved + transport - :func:`observed_energy` is the gap without its constant.
    """
    forward = settings["scheme"] == "implicit"
    # Backwards in time the snapshots change their roles, and the energy is -F.
    sign = 1 if forward else -1
    source = jax.tree.map(lambda leaf: leaf[:, :-1] if forward else leaf[:, 1:], batch)
    before = known.entropy[:-1] if forward else known.entropy[1:]
    start, end = (known.start, known.end) if forward else (known.end, known.start)

    def interval(source, before, start, end, h, key):
        mass = source.weight / jnp.sum(source.weight)  # (m,)
        u = jax.vmap(velocity, in_axes=(None, 0, None))(net, source.z, start)  # (m, d)
        transport = mass @ jnp.sum(u**2, axis=1) * h / 2
        moved = energy_of(nets, Clouds(source.z + h * u, source.weight), end, settings)
        if "entropy" in nets:
            over = jax.vmap(log_det, in_axes=(None, 0, None, None, 0))
            field = Partial(_velocity_at, net, start)
            each = jax.random.split(key, len(u))
            grown = before + mass @ over(field, source.z, h, settings["log_det"], each)
            moved = moved - neural.b(nets) * grown
        return Moved(sign * moved, transport)

    keys = jax.random.split(key, len(known.h))
    terms = jax.vmap(interval, in_axes=(1, 0, 0, 0, 0, 0))(
        source, before, start, end, known.h, keys
    )
    return jax.tree.map(jnp.sum, terms)


def observed_energy(nets: Mapping, batch: Clouds, known: Intervals, settings: Mapping) -> Array:
    """F of the observed snapshots that the map aims at, summed over the intervals, on a batch."""
    forward = settings["scheme"] == "implicit"
    sign = 1 if forward else -1
    goal = jax.tree.map(lambda leaf: leaf[:, 1:] if forward else leaf[:, :-1], batch)
    entropy = known.entropy[1:] if forward else known.entropy[:-1]
    times = known.end if forward else known.start

    def interval(goal, entropy, t):
        return energy_of(nets, goal, t, settings) - neural.b(nets) * entropy

    return sign * jnp.sum(jax.vmap(interval, in_axes=(1, 0, 0))(goal, entropy, times))


def energy_of(nets: Mapping, cloud: Clouds, t: Array, settings: Mapping) -> Array:
    """Potential and interaction energy of one cloud, z (m, d) and weight (m,), at time t."""
    total = jnp.zeros((), cloud.z.dtype)
    if "potential" in nets:
        values = jax.vmap(neural.v, in_axes=(None, 0, None))(nets, cloud.z, t)
        total = total + cloud.weight @ values / jnp.sum(cloud.weight)
    if "interaction" in nets:
        total = total + mean_interaction(nets, cloud, settings) / 2
    return total


def mean_interaction(nets: Mapping, cloud: Clouds, settings: Mapping) -> Array:
    """Mean of w over pairs of a batch, z (m, d): each particle with the ``partners`` after it.

    Particles of a batch stand in random order, so that either of a pair is as likely to be the first: the network,
    at one of the two differences, has the mean of its even part w, at half of the cost.
    """
    z, weight = cloud
    m, kernel = len(z), partial(apply_mlp, nets["interaction"])
    total = mass = jnp.zeros((), z.dtype)
    for shift in range(1, min(settings["partners"], m - 1) + 1):
        apart = z - jnp.roll(z, shift, axis=0)  # (m, d)
        # Two rows may hold the same particle.
        different = jnp.any(apart != 0, axis=1).astype(z.dtype)
        both = weight * jnp.roll(weight, shift) * different
        total = total + both @ jax.vmap(kernel)(apart)
        mass = mass + jnp.sum(both)
    mean = total / mass
    if settings["diagonal"]:
        mean = (1 - 1 / m) * mean + kernel(jnp.zeros_like(z[0])) / m
    return mean


def update_of(
    settings: Mapping, of_energy: GradientTransformation, of_map: GradientTransformation
) -> Update:
    """``map_steps`` steps of the map on batches of its own, then one of the energy.

    The numbers are of the energy's batch. loss: of the energy, -F(T#rho) + F of the observed;
    map_loss: the gap without its constant; both per interval and h. gap: G / (sum of W2^2 / (2 h)).
    """

    def map_loss(net, nets, batch, known, key):
        terms = moved_terms(nets, net, batch, known, settings, key)
        return (terms.moved + terms.transport) / jnp.sum(known.h)

    def energy_loss(nets, net, batch, known, key):
        moved, transport = moved_terms(nets, net, batch, known, settings, key)
        observed = observed_energy(nets, batch, known, settings)
        h, left = jnp.sum(known.h), moved + transport - observed
        return (observed - moved) / h, {"map_loss": left / h, "gap": left / known.cost - 1}

    def update(players: Players, batch: Clouds, shared: tuple[Clouds, Intervals], key: Array):
        data, known = shared
        key_map, key_energy = jax.random.split(key)

        def step(state, key):
            key_rows, key_probes = jax.random.split(key)
            rows = jax.random.randint(key_rows, (settings["batch"],), 0, len(data.z))
            drawn = jax.tree.map(lambda leaf: leaf[rows], data)
            gradient = jax.grad(map_loss)(
                state.params, players.energy.params, drawn, known, key_probes
            )
            return descend(state, gradient, of_map), None

        keys = jax.random.split(key_map, settings["map_steps"])
        map_state, _ = jax.lax.scan(step, players.map, keys)
        (loss, numbers), gradient = jax.value_and_grad(energy_loss, has_aux=True)(
            players.energy.params, map_state.params, batch, known, key_energy
        )
        energy_state = descend(players.energy, gradient, of_energy)
        return Players(energy_state, map_state), {"loss": loss} | numbers

    return update


def fit(problem: Problem, settings: Mapping, report=print) -> Fit:
    """Play the game for every seed, on all train particles or on two halves of them (:mod:`jko.halves`).

    Raises:
        ValueError: as :func:`play` and :func:`jko.halves.fit`, or halves that are to start at a V of both.
    """
    if settings["halves"] and problem.start is not None:
        raise ValueError(
            f"halves is true and start is {settings['start']}, which has seen both halves; take one of the two"
        )
    if settings["halves"]:
        return halves.fit(play, problem, settings, report)
    return play(problem, settings, report)


def play(problem: Problem, settings: Mapping, report=print) -> Fit:
    """Play the game for every seed; seeds are independent and run as one program.

    Raises:
        ValueError: an entropy together with the explicit scheme, or particles without an extent.
    """
    snapshots, terms = problem.snapshots, settings["terms"]
    if "entropy" in terms and settings["scheme"] == "explicit":
        raise ValueError(
            "terms holds entropy and scheme is explicit; an explicit step of the entropy is ill-posed: "
            "take scheme implicit or leave the entropy out"
        )
    rows = batches.rows_of(snapshots, settings["batch"])
    of_seed = [standardised(problem, s, terms, rows, report) for s in range(len(snapshots.seed))]
    data, known, units = jax.tree.map(lambda *leaves: jnp.stack(leaves), *of_seed)

    steps_per_epoch = rows // settings["batch"]
    epochs = -(-settings["steps"] // steps_per_epoch)
    steps = epochs * steps_per_epoch
    rate, map_rate, schedule = (
        settings[name] for name in ("learning_rate", "map_learning_rate", "schedule")
    )
    of_energy = adam(rate, steps, schedule, settings["clip"])
    of_map = adam(map_rate, steps * settings["map_steps"], schedule, np.inf, b1=0.5, b2=0.9)
    start_keys, batch_keys = start_and_batch_keys(snapshots.seed)
    options = settings["terms"], settings["time_varying"], settings["hidden"]
    players = Players(
        first_state(
            lambda key: neural.init(key, snapshots.dimension, *options), of_energy, start_keys
        ),
        first_state(
            lambda key: init_map(key, snapshots.dimension, settings["map_hidden"]),
            of_map,
            start_keys,
        ),
    )
    if problem.start is not None:
        players = begun(problem.start, players, data, known, units, settings, batch_keys, report)
    trained = run(
        update_of(settings, of_energy, of_map),
        players,
        data,
        batch_keys,
        epochs=epochs,
        batch=settings["batch"],
        loss_limit=settings["loss_limit"],
        shared=(data, known),
        keep=checkpoints(epochs, settings["checkpoints"]),
        report=report,
    )
    fixed = {"units": units, "h": known.h, "start": known.start}

    def params_of(players: Players) -> dict:
        return fixed | {"nets": players.energy.params, "map": players.map.params}

    kept = {epoch: params_of(players) for epoch, players in trained.kept.items()}
    status = [
        f"not started: {settings['start']} has learned no V" if lost else why
        for lost, why in zip(lacking(problem), trained.status(), strict=True)
    ]
    return Fit(params_of(trained.state), status, trained.history(snapshots.seed), kept)


def lacking(problem: Problem) -> list[bool]:
    """For each seed whether the game was to start at a V that there is not."""
    start = problem.start
    return [start is not None and start[s] is None for s in range(len(problem.snapshots.seed))]


def begun(
    start: Sequence[Energy | None],
    players: Players,
    data: Clouds,
    known: Intervals,
    units: Mapping,
    settings: Mapping,
    keys: Array,
    report,
) -> Players:
    """The players at the V of ``start``, one energy for each seed, fitted at all train particles.

    Raises:
        ValueError: the game has no V.
    """
    if "potential" not in settings["terms"]:
        raise ValueError(
            f"start is {settings['start']} and terms holds no potential; without a V there is nothing to start"
        )
    time = jnp.concatenate([known.start, known.end[:, -1:]], axis=1)  # (S, K)
    pairs = distillation.at_particles(start, data, time, units)
    # A map that goes back in time goes up the slope.
    step = pairs._replace(target=pairs.target * (-1 if settings["scheme"] == "implicit" else 1))
    length = {"steps": settings["start_steps"], "batch": settings["batch"]}
    learn = partial(distillation.distilled, keys=keys, report=report, **length)
    nets = learn(jax.grad(neural.v, argnums=1), players.energy.params, pairs)
    net = learn(velocity, players.map.params, step)
    return Players(players.energy._replace(params=nets), players.map._replace(params=net))


def init_map(key: Array, dimension: int, hidden: Sequence[int]) -> Mapping:
    """A random network of the map, whose last layer is small: near the identity."""
    net = MLP(hidden, dimension, nn.selu).init(jax.random.fold_in(key, 2), jnp.zeros(dimension + 1))
    name = f"Dense_{len(hidden)}"
    last = net["params"][name]
    return {"params": net["params"] | {name: last | {"kernel": 0.1 * last["kernel"]}}}


def standardised(
    problem: Problem, s: int, terms: Sequence[str], rows: int, report
) -> tuple[Clouds, Intervals, dict]:
    """The clouds in so many rows, the intervals and the units of the ``s``-th seed."""
    snapshots = problem.snapshots
    clouds = snapshots.clouds(s, "train")
    units = batches.units_of(clouds, snapshots.time, snapshots.tau)
    width = units["width"]
    h = snapshots.tau * units["scale"] / width**2
    cost = np.sum(problem.coupling.cost[s] / width**2 / (2 * h))
    time = (snapshots.time - units["time_center"]) / units["time_width"]
    clouds = [(cloud - units["center"]) / width for cloud in clouds]
    entropy = np.array([knn_entropy(cloud) if "entropy" in terms else 0.0 for cloud in clouds])
    if "entropy" in terms:
        found = " ".join(f"{value:.4f}" for value in entropy)
        report(f"seed {snapshots.seed[s]}: entropies of the standardised snapshots {found}")

    rng = np.random.default_rng([int(snapshots.seed[s]), _STREAM])
    found = (
        batches.side_by_side(clouds, rows, rng),
        Intervals(h, time[:-1], time[1:], entropy, cost),
        units,
    )
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), found)


def energy(params: Mapping, settings: Mapping) -> Energy:
    """The learned energy."""
    return halves.energy(params) if settings["halves"] else neural.energy(params)


def transport(params: Mapping, settings: Mapping) -> Partial | None:
    """T(x, k), which takes a particle x (d,) of snapshot k to snapshot k + 1.

    None for the explicit scheme, whose map goes back in time, and for two halves, which have two maps.
    """
    forward = settings["scheme"] == "implicit" and not settings["halves"]
    return Partial(_transported, params) if forward else None


def _transported(params: Mapping, x: Array, k: Array) -> Array:
    z, _ = standardise(params["units"], x, params["start"][k])
    return x + params["units"]["width"] * params["h"][k] * velocity(
        params["map"], z, params["start"][k]
    )
