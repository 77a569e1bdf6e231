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

from jko import neural
from jko.energies import Energy
from jko.methods import Fit, Problem
from jko.pairs import Pairs, coupled_pairs, in_units, units_of
from jko.training import GradientState, gradient_update, pad_rows, run, seed_keys


def energy(params: Mapping, settings: Mapping) -> Energy:
    """The learned energy."""
    return neural.energy(params)


def loss(nets: Mapping, batch: Pairs) -> Array:
    """Weighted mean of |grad V - target|^2 over a batch; points and targets in the network's units."""

    def square(z, t, target):
        return jnp.sum((jax.grad(neural.v, argnums=1)(nets, z, t) - target) ** 2)

    return jnp.mean(batch.weight * jax.vmap(square)(batch.x, batch.t, batch.target))


def fit(problem: Problem, settings: Mapping, report=print) -> Fit:
    """Train one network per seed; seeds are independent and run as one program."""
    snapshots = problem.snapshots
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
    options = ["potential"], settings["time_varying"], settings["hidden"]
    nets = jax.vmap(lambda key: neural.init(key, snapshots.dimension, *options))(start_keys)
    trained = run(
        gradient_update(lambda nets, batch, shared, key: loss(nets, batch), optimizer),
        GradientState(nets, jax.vmap(optimizer.init)(nets)),
        data,
        batch_keys,
        epochs=settings["epochs"],
        batch=settings["batch"],
        loss_limit=settings["loss_limit"],
        report=report,
    )
    params = {
        "nets": trained.state.params,
        "units": jax.tree.map(lambda *leaves: np.stack(leaves), *units),
    }
    return Fit(params, trained.status(), trained.history(snapshots.seed))


def adam(settings: Mapping, steps: int) -> optax.GradientTransformation:
    """Adam behind a clip of the global norm; the rate is constant, or falls to zero as a half cosine."""
    rate = settings["learning_rate"]
    if settings["schedule"] == "cosine":
        rate = optax.cosine_decay_schedule(rate, steps)
    return optax.chain(optax.clip_by_global_norm(settings["clip"]), optax.adam(rate))
