"""Networks that begin where another method ended: fitted to a field that is known at particles.

    mean over the pairs of weight |f(params, x, t) - target|^2

goes down by Adam, with f the gradient of a potential's network, or the network of a transport map. The game that follows
is then played about an energy that is nearly right, and not about none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jko.batches import Clouds
from jko.energies import Energy
from jko.pairs import Pairs
from jko.training import GradientState, adam, gradient_update, run

# Of Adam; it falls to zero.
_RATE = 0.003
PyTree = Any
Field = Callable[[PyTree, Array, Array], Array]


def distilled(
    field: Field,
    params: PyTree,
    pairs: Pairs,
    keys: Array,
    steps: int,
    batch: int,
    report: Callable[[str], None],
) -> PyTree:
    """Parameters of ``field(params, x, t) -> (d,)`` near the targets of the pairs, for all seeds at once.

    Args:
        params: pytree with leading axis S, where to start; its arrays are given up.
        pairs: arrays (S, P, ...); P is a multiple of ``batch``.
        keys: (S,) keys of the batches.
        steps: of Adam, at least; whole epochs are trained.
        report: receives a line of progress about every twentieth of the way, and one with what is left.

    Returns:
        As ``params``; not finite for a seed whose targets are not.
    """
    epochs = -(-steps * batch // pairs.x.shape[1])
    optimizer = adam(_RATE, epochs * pairs.x.shape[1] // batch, "cosine", np.inf)
    trained = run(
        gradient_update(partial(_loss, field), optimizer),
        GradientState(params, jax.vmap(optimizer.init)(params)),
        pairs,
        keys,
        epochs=epochs,
        batch=batch,
        loss_limit=np.inf,
        report=report,
    )
    size = np.mean(pairs.weight * np.sum(np.square(pairs.target), axis=-1), axis=1)
    left = trained.means["loss"][:, -1] / size
    report(f"left of the field's square: {' '.join(f'{share:.2g}' for share in left)}")
    return trained.state.params


def _loss(field: Field, params: PyTree, pairs: Pairs, shared: PyTree, key: Array) -> Array:
    def square(x, t, target):
        return jnp.sum((field(params, x, t) - target) ** 2)

    return jnp.mean(pairs.weight * jax.vmap(square)(pairs.x, pairs.t, pairs.target))


def at_particles(
    energies: Sequence[Energy | None], clouds: Clouds, time: Array, units: Mapping[str, Array]
) -> Pairs:
    """The gradients of the V of energies at the particles of every snapshot.

    Args:
        energies: for each seed, or None, whose targets are then NaN.
        clouds: z (S, P, K, d), weight (S, P, K), and ``time`` (S, K), standardised with ``units``.

    Returns:
        Pairs (S, P K, ...), in these units: grad v = width / scale grad V.
    """
    of_seed = [
        _slopes(energy, clouds.z[s], time[s], jax.tree.map(lambda leaf, s=s: leaf[s], units))
        for s, energy in enumerate(energies)
    ]
    times = jnp.broadcast_to(time[:, None, :], clouds.weight.shape)
    weight = clouds.weight / jnp.mean(clouds.weight, axis=(1, 2), keepdims=True)
    columns = Pairs(clouds.z, times, jnp.stack(of_seed), weight)
    return jax.tree.map(lambda leaf: leaf.reshape(len(leaf), -1, *leaf.shape[3:]), columns)


def _slopes(energy: Energy | None, z: Array, time: Array, units: Mapping[str, Array]) -> Array:
    """For one seed: z (P, K, d) -> (P, K, d)."""
    if energy is None:
        return jnp.full(z.shape, jnp.nan, z.dtype)

    def slope(z, t):
        x = units["center"] + units["width"] * z
        t = units["time_center"] + units["time_width"] * t
        return units["width"] / units["scale"] * jax.grad(energy.potential)(x, t)

    return jax.jit(jax.vmap(jax.vmap(slope), in_axes=(0, None)))(z, time)
