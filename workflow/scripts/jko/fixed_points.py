"""Fixed points of maps of whole populations, each of which is costly to take."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

# Changes between sweeps that the next place is made of.
_MEMORY = 4
# Share of each squared length that is added to it, so that changes which point the same way stay apart in float32.
_RIDGE = 1e-6
# Longest step, in those of a sweep: far out every number is fixed, to rounding.
_LONGEST = 10.0
# Of a step that has led uphill, the share that is tried next.
_SHORTER = 0.25
# Sweeps without a smaller change, after which none will settle, and after which one near enough is as good as the last.
_IDLE, _IDLE_NEAR = 10, 2


class _State(NamedTuple):
    """The place y of the next sweep; the last one downhill, its value g(y), height and the ``share`` of its step that is tried.

    values, residuals: (m, ...) changes of g(y) and of f = g(y) - y between sweeps downhill. best, least: value of the least
    change |f|, and that. idle: sweeps since it fell.
    """

    y: Array
    last: Array
    value: Array
    height: Array
    share: Array
    values: Array
    residuals: Array
    best: Array
    least: Array
    idle: Array
    count: Array


def fixed_point(
    g: Callable[[Array], tuple[Array, Array]], start: Array, sweeps: int
) -> tuple[Array, Array]:
    """y = g(y), downhill from ``start`` by Anderson's acceleration of the sweeps y <- g(y) (Anderson 1965; Walker and Ni 2011).

    With G and F the changes of g and of f = g(y) - y between the last five places, the next place is g(y) - G gamma, where
    gamma minimises |f - F gamma|: a secant method in the few directions that sweeps leave. Plain sweeps settle only
    where g contracts, and go to and fro for good where it turns steps round. Where a place is higher than
    the one before it, the sweep from there is taken instead, then shares of it, with an empty memory.

    Ends when |f| is a 1e-4th of the way |g(y) - start|, or within a 1e-2th of it where rounding keeps it from
    falling further, when it has not fallen in ten sweeps, or after so many; norms are largest components.

    Args:
        g: y (...) to g(y) (...) and the height () of y, which g(y) - y points down from.
        start: (...).

    Returns:
        The g(y) of the least |f| (...), and whether that is within a 1e-2th of the way ().
    """
    dtype = start.dtype
    endless, none = jnp.asarray(jnp.inf, dtype), jnp.int32(0)
    empty = jnp.zeros((_MEMORY, *start.shape), dtype)

    def sweep(state: _State) -> _State:
        value, height = g(state.y)
        residual, before = value - state.y, state.value - state.last
        change = _norm(residual)
        rounding = 8 * jnp.finfo(dtype).eps * (1 + jnp.abs(state.height))
        down = (height <= state.height + rounding) & jnp.isfinite(change)
        values = _remembered(state.values, value - state.value, state.count)
        residuals = _remembered(state.residuals, residual - before, state.count)
        move = residual - jnp.tensordot(_weights(residuals, residual), values, axes=1)
        # A secant across a top leads back to it.
        move = jnp.where(jnp.sum(move * residual) > 0, move, residual)
        onward = state.y + jnp.minimum(1, _LONGEST * change / _norm(move)) * move
        # The first way back is as long as a sweep.
        share = jnp.where(down, 1 / _SHORTER, _SHORTER * state.share)
        better, falls = (down & (change < bound * state.least) for bound in (1.0, 0.9))
        return _State(
            y=jnp.where(down, onward, state.last + share * before),
            last=jnp.where(down, state.y, state.last),
            value=jnp.where(down, value, state.value),
            height=jnp.where(down, height, state.height),
            share=share,
            values=jnp.where(down, values, empty),
            residuals=jnp.where(down, residuals, empty),
            best=jnp.where(better, value, state.best),
            least=jnp.where(better, change, state.least),
            idle=jnp.where(falls, 0, state.idle + 1),
            count=state.count + 1,
        )

    def unsettled(state: _State) -> Array:
        way = _norm(state.best - start)
        stalled = (state.idle > _IDLE_NEAR) & (state.least <= 1e-2 * way)
        far = state.least > 1e-4 * way
        return far & ~stalled & (state.idle < _IDLE) & (state.count < sweeps)

    whole = jnp.ones((), dtype)
    first = _State(start, start, start, endless, whole, empty, empty, start, endless, none, none)
    found = jax.lax.while_loop(unsettled, sweep, first)
    return found.best, found.least <= 1e-2 * _norm(found.best - start)


def _remembered(changes: Array, new: Array, count: Array) -> Array:
    # Before the second sweep there is no change.
    return jnp.where(count > 0, jnp.roll(changes, 1, axis=0).at[0].set(new), changes)


def _weights(changes: Array, residual: Array) -> Array:
    """gamma that minimises |f - F gamma|: (m,), 0 for a change of 0."""
    flat = changes.reshape(len(changes), -1)
    length = jnp.linalg.norm(flat, axis=1)
    length = jnp.where(length > 0, length, 1)
    unit = flat / length[:, None]
    gram = unit @ unit.T
    # A change of 0 has 1 on the diagonal, too.
    gram = gram + jnp.diag(1 + _RIDGE - jnp.diag(gram))
    return jnp.linalg.solve(gram, unit @ residual.ravel()) / length


def _norm(array: Array) -> Array:
    return jnp.max(jnp.abs(array))
