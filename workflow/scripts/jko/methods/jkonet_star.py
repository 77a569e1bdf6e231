"""JKOnet*: learn a potential from the first-order condition of the JKO step (jkonet_star eq. 9).

The loss is the sum over the intervals of E |grad V - wanted gradient|^2 under the coupling, with the pairs
of :mod:`jko.pairs`; the paper's condition is the implicit one. V is an MLP; it may depend on time
(Remark 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial

from jko.energies import Energy
from jko.methods import Fit, Problem
from jko.networks import MLP
from jko.pairs import Pairs, coupled_pairs, in_units, standardise, units_of
from jko.training import GradientState, gradient_update, pad_rows, run, seed_keys


def potential(params: Mapping, x: Array, t: Array) -> Array:
    """V(x, t) = scale net((x - center) / width [, (t - start) / span]), for x (d,) and t ()."""
    units = params["units"]
    return units["scale"] * network(params["net"], *standardise(units, x, t))


def network(net: Mapping, z: Array, t: Array) -> Array:
    """The network at z (d,) and t (), both standardised; it takes t if its first layer has a place for it."""
    layers = net["params"]
    inputs = layers["Dense_0"]["kernel"].shape[0]
    hidden = [layers[f"Dense_{i}"]["kernel"].shape[1] for i in range(len(layers) - 1)]
    return MLP(hidden).apply(net, z if inputs == z.size else jnp.append(z, t))


def energy(params: Mapping, settings: Mapping) -> Energy:
    """The learned energy: V, without interaction or entropy."""
    return Energy(Partial(potential, params))


def loss(net: Mapping, batch: Pairs) -> Array:
    """Weighted mean of |grad V - target|^2 over a batch; points and targets in the network's units."""

    def square(z, t, target):
        return jnp.sum((jax.grad(network, argnums=1)(net, z, t) - target) ** 2)

    return jnp.mean(batch.weight * jax.vmap(square)(batch.x, batch.t, batch.target))


def fit(problem: Problem, settings: Mapping, report=print) -> Fit:
    """Train one network per seed; seeds are independent and run as one program."""
    snapshots = problem.snapshots
    inputs = snapshots.dimension + settings["time_varying"]
    keys = seed_keys(snapshots.seed)
    start_keys, batch_keys = jax.vmap(jax.random.split, out_axes=1)(keys)

    columns = [
        coupled_pairs(snapshots, problem.coupling, s, settings["scheme"]) for s in range(len(keys))
    ]
    units = [units_of(column, snapshots.time) for column in columns]
    data = Pairs(
        *(
            jnp.asarray(pad_rows(list(column), settings["batch"]))
            for column in zip(*map(in_units, columns, units), strict=True)
        )
    )
    # Filling rows have weight zero; the others are raised so that the mean over all rows stays 1.
    data = data._replace(weight=data.weight / jnp.mean(data.weight, axis=1, keepdims=True))

    optimizer = adam(settings, steps=settings["epochs"] * data.weight.shape[1] // settings["batch"])
    net = jax.vmap(MLP(settings["hidden"]).init, in_axes=(0, None))(start_keys, jnp.zeros(inputs))
    trained = run(
        gradient_update(lambda net, batch, shared, key: loss(net, batch), optimizer),
        GradientState(net, jax.vmap(optimizer.init)(net)),
        data,
        batch_keys,
        epochs=settings["epochs"],
        batch=settings["batch"],
        loss_limit=settings["loss_limit"],
        report=report,
    )
    params = {
        "net": trained.state.params,
        "units": jax.tree.map(lambda *leaves: np.stack(leaves), *units),
    }
    return Fit(params, trained.status(), trained.history(snapshots.seed))


def adam(settings: Mapping, steps: int) -> optax.GradientTransformation:
    """Adam behind a clip of the global norm; the rate is constant, or falls to zero as a half cosine."""
    rate = settings["learning_rate"]
    if settings["schedule"] == "cosine":
        rate = optax.cosine_decay_schedule(rate, steps)
    return optax.chain(optax.clip_by_global_norm(settings["clip"]), optax.adam(rate))
