"""The one optimisation loop: epochs of shuffled batches in one compiled program, seeds vmapped."""

from __future__ import annotations

import time
from collections.abc import Callable
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
PyTree = Any
Update = Callable[[PyTree, PyTree, Array], tuple[PyTree, Array]]


class Trained(NamedTuple):
    """What a training leaves.

    Attributes:
        state: pytree with leading axis S, after the last step.
        loss: (S, epochs) mean loss of each epoch.
        failed_step: (S,) first step whose loss was not finite or above the limit; -1 if none.
    """

    state: PyTree
    loss: np.ndarray
    failed_step: np.ndarray

    def status(self) -> list[str]:
        """For each seed "ok", or the step at which it diverged."""
        return ["ok" if step < 0 else f"diverged at step {step}" for step in self.failed_step]

    def history(self, seeds: np.ndarray) -> pd.DataFrame:
        """Columns seed, epoch (1 is the first), loss."""
        epochs = self.loss.shape[1]
        return pd.DataFrame(
            {
                "seed": np.repeat(seeds, epochs),
                "epoch": np.tile(np.arange(1, epochs + 1), len(seeds)),
                "loss": self.loss.ravel(),
            }
        )


class GradientState(NamedTuple):
    """State of :func:`gradient_update`: what is learned, and the optimiser's memory of it."""

    params: PyTree
    memory: PyTree


def gradient_update(loss: Callable, optimizer: optax.GradientTransformation) -> Update:
    """An update by one optimiser step on ``loss(params, batch, key) -> ()``; keeps a GradientState."""

    def update(state: GradientState, batch: PyTree, key: Array) -> tuple[GradientState, Array]:
        value, gradient = jax.value_and_grad(loss)(state.params, batch, key)
        # optax raises floats to powers of its integer step count, which strict JAX would refuse.
        with jax.numpy_dtype_promotion("standard"):
            change, memory = optimizer.update(gradient, state.memory, state.params)
        return GradientState(optax.apply_updates(state.params, change), memory), value

    return update


def run(
    update: Update,
    state: PyTree,
    data: PyTree,
    keys: Array,
    *,
    epochs: int,
    batch: int,
    loss_limit: float,
    report: Callable[[str], None] = print,
) -> Trained:
    """Apply ``update`` to shuffled batches for a number of epochs, for all seeds at once.

    Args:
        update: (state, batch, key) -> (state, loss), written for one seed.
        state: pytree with leading axis S.
        data: pytree of arrays (S, P, ...); P is a multiple of ``batch``.
        keys: (S,) keys. epochs, batch: how many passes, and how many rows in each step.
        loss_limit: a loss above it, or not finite, marks the seed as failed at that step. Other seeds
            are not affected.
        report: receives a line of progress about every twentieth of the way.

    Returns:
        The states, losses and failures of all seeds.
    """
    seeds, rows = jax.tree.leaves(data)[0].shape[:2]
    if rows % batch:
        raise ValueError(f"{rows} rows do not fill batches of {batch}; pad them first")
    carry = (state, jnp.zeros((seeds, epochs), jnp.float32), jnp.full((seeds,), -1, jnp.int32))
    started = time.monotonic()
    marks = np.unique(np.linspace(0, epochs, num=min(epochs, 20) + 1, dtype=int))
    for start, stop in zip(marks[:-1], marks[1:], strict=True):
        carry = _epochs(
            carry,
            data,
            keys,
            jnp.int32(start),
            jnp.int32(stop),
            update=update,
            batch=batch,
            loss_limit=loss_limit,
        )
        loss, failed = np.asarray(carry[1][:, stop - 1]), np.asarray(carry[2])
        elapsed = time.monotonic() - started
        left = elapsed * (epochs - stop) / stop
        report(
            f"epoch {stop}/{epochs} loss {' '.join(f'{value:.5g}' for value in loss)} "
            f"({np.sum(failed < 0)} of {seeds} seeds finite) {elapsed:.0f} s, about {left:.0f} s left"
        )
    state, loss, failed = carry
    return Trained(state, np.asarray(loss), np.asarray(failed))


@partial(jax.jit, static_argnames=("update", "batch", "loss_limit"), donate_argnames="carry")
def _epochs(carry, data, keys, start, stop, *, update, batch, loss_limit):
    """Epochs start..stop-1 of every seed; one compiled program serves every range."""
    rows = jax.tree.leaves(data)[0].shape[1]
    steps = rows // batch

    def one_seed(carry, data, key):
        def epoch(number, carry):
            state, losses, failed = carry
            epoch_key = jax.random.fold_in(key, number)
            order = jax.random.permutation(epoch_key, rows).reshape(steps, batch)

            def step(carry, inputs):
                state, failed = carry
                index, rows_of_step = inputs
                part = jax.tree.map(lambda leaf: leaf[rows_of_step], data)
                state, loss = update(state, part, jax.random.fold_in(epoch_key, index))
                bad = ~(loss <= loss_limit)
                failed = jnp.where((failed < 0) & bad, number * steps + index, failed)
                return (state, failed), loss

            inputs = (jnp.arange(steps, dtype=jnp.int32), order)
            (state, failed), loss = jax.lax.scan(step, (state, failed), inputs)
            return state, losses.at[number].set(jnp.mean(loss)), failed

        return jax.lax.fori_loop(start, stop, epoch, carry)

    return jax.vmap(one_seed)(carry, data, keys)


def seed_keys(seeds: np.ndarray) -> Array:
    """(S,) keys of a training, one for each seed.

    A simulation draws its particles from ``jax.random.key(seed)``; a training must not share its numbers.
    """
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, _TRAINING)


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
