"""The one optimisation loop: epochs of shuffled batches in one compiled program, seeds vmapped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jax import Array

# Folded into a seed's key: the stream of numbers that trainings use.
_TRAINING = 0x7472_6169
# For programs that run once: the same numbers, compiled in half of the time.
_ONCE = {"xla_backend_optimization_level": 0}
PyTree = Any
Update = Callable[[PyTree, PyTree, PyTree, Array], tuple[PyTree, dict[str, Array]]]


class Trained(NamedTuple):
    """What a training leaves.

    Attributes:
        state: pytree with leading axis S, after the last step.
        means: (S, epochs) mean over each epoch, up to the one that ended it, of every number that the update returns, by name.
        failed_step: (S,) first step whose loss was not finite or above the limit; -1 if none.
        kept: {epoch: state after that epoch}, for the epochs that were asked for.
    """

    state: PyTree
    means: dict[str, np.ndarray]
    failed_step: np.ndarray
    kept: dict[int, PyTree]

    def status(self) -> list[str]:
        """For each seed "ok", or the step at which it diverged."""
        return ["ok" if step < 0 else f"diverged at step {step}" for step in self.failed_step]

    def history(self, seeds: np.ndarray) -> pd.DataFrame:
        """Columns seed, epoch (1 is the first), and one for each of the means."""
        epochs = next(iter(self.means.values())).shape[1]
        index = {
            "seed": np.repeat(seeds, epochs),
            "epoch": np.tile(np.arange(1, epochs + 1), len(seeds)),
        }
        return pd.DataFrame(index | {name: mean.ravel() for name, mean in self.means.items()})


class GradientState(NamedTuple):
    """What is learned, and the optimiser's memory of it."""

    params: PyTree
    memory: PyTree


def first_state(
    init: Callable[[Array], PyTree], optimizer: optax.GradientTransformation, keys: Array
) -> GradientState:
    """Parameters init(key) for each of the keys (S,), and the optimiser's memory of nothing yet.

    One compiled program: call by call, every random array of the networks would be one of its own.
    """

    @partial(jax.jit, compiler_options=_ONCE)
    @jax.vmap
    def start(key):
        params = init(key)
        return GradientState(params, optimizer.init(params))

    return start(keys)


def gradient_update(loss: Callable, optimizer: optax.GradientTransformation) -> Update:
    """An update by one optimiser step on ``loss(params, batch, shared, key) -> ()``, its one number."""

    def update(state: GradientState, batch: PyTree, shared: PyTree, key: Array):
        value, gradient = jax.value_and_grad(loss)(state.params, batch, shared, key)
        return descend(state, gradient, optimizer), {"loss": value}

    return update


def adam(
    learning_rate: float, steps: int, schedule: str, clip: float, b1: float = 0.9, b2: float = 0.999
) -> optax.GradientTransformation:
    """Adam behind a clip of the global norm; the rate is constant or falls as a half cosine."""
    rate = learning_rate
    if schedule == "cosine":
        rate = optax.cosine_decay_schedule(learning_rate, steps)
    # As one vector: array by array, starting the operations costs more than their arithmetic.
    return optax.flatten(optax.chain(optax.clip_by_global_norm(clip), optax.adam(rate, b1, b2)))


def descend(
    state: GradientState, gradient: PyTree, optimizer: optax.GradientTransformation
) -> GradientState:
    """One step of the optimiser along a gradient."""
    # optax raises floats to powers of its integer step count, which strict JAX would refuse.
    with jax.numpy_dtype_promotion("standard"):
        change, memory = optimizer.update(gradient, state.memory, state.params)
    return GradientState(optax.apply_updates(state.params, change), memory)


def run(
    update: Update,
    state: PyTree,
    data: PyTree,
    keys: Array,
    *,
    epochs: int,
    batch: int,
    loss_limit: float,
    shared: PyTree = (),
    keep: Sequence[int] = (),
    until: Callable[[dict[str, np.ndarray]], bool] | None = None,
    report: Callable[[str], None] = print,
) -> Trained:
    """Apply ``update`` to shuffled batches for a number of epochs, for all seeds at once.

    Args:
        update: (state, batch, shared, key) -> (state, numbers), written for one seed; the numbers
            are by name, and "loss" is among them.
        state: pytree with leading axis S.
        data: pytree of arrays (S, P, ...); P is a multiple of ``batch``.
        keys: (S,) keys. epochs, batch: how many passes, and how many rows in each step.
        loss_limit: a loss larger in size, or not finite, marks the seed as failed at that step.
            Other seeds are not affected.
        shared: pytree with leading axis S, which every step sees whole.
        keep: epochs after which a copy of the state is kept.
        until: of the means of all epochs so far; asked after each epoch that is kept, whether the training may end.
        report: receives a line of progress about every twentieth of the way.

    Returns:
        The states, numbers and failures of all seeds.
    """
    seeds, rows = jax.tree.leaves(data)[0].shape[:2]
    if rows % batch:
        raise ValueError(f"{rows} rows do not fill batches of {batch}; pad them first")

    # Traced once, for its numbers' names and for the loop.
    update = jax.jit(update)

    def numbers(state, data, shared, keys):
        part = jax.tree.map(lambda leaf: leaf[:, :batch], data)
        return jax.vmap(update)(state, part, shared, keys)[1]

    names = jax.eval_shape(numbers, state, data, shared, keys)
    means = {name: np.zeros((seeds, epochs), np.float32) for name in names}
    carry = (state, means, np.full(seeds, -1, np.int32))
    started, kept = time.monotonic(), {}
    marks = np.unique([*np.linspace(0, epochs, num=min(epochs, 20) + 1, dtype=int), *keep])
    for start, stop in zip(marks[:-1], marks[1:], strict=True):
        carry = _epochs(
            carry,
            data,
            shared,
            keys,
            jnp.int32(start),
            jnp.int32(stop),
            update=update,
            batch=batch,
            loss_limit=loss_limit,
        )
        loss, failed = np.asarray(carry[1]["loss"])[:, stop - 1], np.asarray(carry[2])
        elapsed = time.monotonic() - started
        left = elapsed * (epochs - stop) / stop
        report(
            f"epoch {stop}/{epochs} loss {' '.join(f'{value:.5g}' for value in loss)} "
            f"({np.sum(failed < 0)} of {seeds} seeds finite) {elapsed:.0f} s, about {left:.0f} s left"
        )
        if stop in keep:
            kept[int(stop)] = jax.tree.map(np.asarray, carry[0])
            if until is not None and until(_so_far(carry[1], stop)):
                break
    state, means, failed = carry
    return Trained(state, _so_far(means, stop), np.asarray(failed), kept)


def _so_far(means, epochs):
    return {name: np.asarray(mean)[:, :epochs] for name, mean in means.items()}


@partial(jax.jit, static_argnames=("update", "batch", "loss_limit"), donate_argnames="carry")
def _epochs(carry, data, shared, keys, start, stop, *, update, batch, loss_limit):
    """Epochs start..stop-1 of every seed; one compiled program serves every range."""
    rows = jax.tree.leaves(data)[0].shape[1]
    steps = rows // batch

    def one_seed(carry, data, shared, key):
        def epoch(number, carry):
            state, means, failed = carry
            epoch_key = jax.random.fold_in(key, number)
            order = shuffled(epoch_key, rows)
            parts = jax.tree.map(
                lambda leaf: leaf[order].reshape(steps, batch, *leaf.shape[1:]), data
            )

            def step(carry, inputs):
                state, failed = carry
                index, part = inputs
                state, numbers = update(state, part, shared, jax.random.fold_in(epoch_key, index))
                bad = ~(jnp.abs(numbers["loss"]) <= loss_limit)
                failed = jnp.where((failed < 0) & bad, number * steps + index, failed)
                return (state, failed), numbers

            inputs = (jnp.arange(steps, dtype=jnp.int32), parts)
            (state, failed), numbers = jax.lax.scan(step, (state, failed), inputs)
            means = {
                name: mean.at[number].set(numbers[name].mean()) for name, mean in means.items()
            }
            return state, means, failed

        return jax.lax.fori_loop(start, stop, epoch, carry)

    if len(keys) > 1:
        return jax.vmap(one_seed)(carry, data, shared, keys)
    # Products of matrices in a batch of one take half as long again as without it.
    alone = jax.tree.map(lambda leaf: leaf[0], (carry, data, shared, keys))
    return jax.tree.map(lambda leaf: leaf[None], one_seed(*alone))


def shuffled(key: Array, rows: int) -> Array:
    """The numbers 0..rows-1 in random order, below 2^16 of them without a bias that a batch could see.

    Each number stands in the low bits of a word whose high bits are random, and the words are sorted: a tenth of the
    time of `jax.random.permutation`, whose sorts of pairs would be a fifth of a training. Numbers
    whose random bits agree stand side by side in rising order.
    """
    low = max(1, (rows - 1).bit_length())
    words = jax.random.bits(key, (rows,), jnp.uint32) >> low << low
    return jnp.sort(words | jnp.arange(rows, dtype=jnp.uint32)) & jnp.uint32(2**low - 1)


def checkpoints(epochs: int, count: int) -> list[int]:
    """At most ``count`` epochs to keep, from the first to the last in equal ratios."""
    return np.unique(np.geomspace(1, epochs, count).round().astype(int)).tolist() if count else []


@jax.jit
def seed_keys(seeds: np.ndarray) -> Array:
    """(S,) keys of a training, one for each seed.

    A simulation draws its particles from ``jax.random.key(seed)``; a training must not share its
    numbers.
    """
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, _TRAINING)


@partial(jax.jit, compiler_options=_ONCE)
def start_and_batch_keys(seeds: np.ndarray) -> tuple[Array, Array]:
    """The :func:`seed_keys` split into those of the first parameters (S,) and of the batches (S,)."""
    starts, batches = jax.vmap(jax.random.split, out_axes=1)(seed_keys(seeds))
    return starts, batches


def pad_rows(arrays: list[np.ndarray], batch: int) -> np.ndarray:
    """Stack arrays (p_s, ...) of different lengths as (S, P, ...), filled up with zeros.

    P is the smallest multiple of ``batch`` that holds the longest. With a weight column among the
    arrays, the filling rows have weight zero.
    """
    longest = max(len(array) for array in arrays)
    rows = -(-longest // batch) * batch
    stacked = np.zeros((len(arrays), rows, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
    for s, array in enumerate(arrays):
        stacked[s, : len(array)] = array
    return stacked
