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
# Sweeps without progress after which one near enough is as good as the last, and after which none will settle.
_IDLE_NEAR, _IDLE = 3, 10
# Share of the fall of the height so far by which it must fall on.
_FALL = 1e-4
# Roundings of the largest number within which everything is at rest.
_REST = 16


class _State(NamedTuple):
    """The place y of the next sweep; the last one downhill, its value g(y), height and the share of its sweep to go next.

    first: height of the start. values, residuals: (m, ...) changes of g(y) and of f = g(y) - y between sweeps downhill.
    best, least: place of the least |f|, and that. mark: |f| when it last fell by a tenth. idle: sweeps without progress.
    """

    y: Array
    last: Array
    value: Array
    first: Array
    height: Array
    share: Array
    values: Array
    residuals: Array
    best: Array
    least: Array
    mark: Array
    idle: Array
    count: Array


def fixed_point(
    g: Callable[[Array], tuple[Array, Array]], start: Array, sweeps: int
) -> tuple[Array, Array]:
    """y = g(y), downhill from ``start`` by Anderson's acceleration of the sweeps y <- g(y) (Anderson 1965; Walker and Ni 2011).

    With G and F the changes of g and of f = g(y) - y between the last five places downhill, the next place is g(y) - G gamma,
    where gamma minimises |f - F gamma|_2: a secant method in the few directions that sweeps leave. Plain sweeps settle
    only where g contracts, and go to and fro for good where it turns steps round. A secant that points against f gives way to
    the sweep, and none is longer than ten sweeps. Where a place is higher than the last one downhill, the next is on
    the way of the sweep from that one, first all of it, then a quarter each time, with an empty memory.

    There is progress where the height falls by a 1e-4th of its fall so far, beyond rounding, or |f| by a tenth. Ends when
    |f| is a 1e-4th of the way |y - start| or rounding, when there was no progress in three sweeps and |f| is within a 1e-2th
    of the way, or in ten sweeps, or after so many; these norms are largest components.

    Args:
        g: y (...) to g(y) (...) and the height () of y. Where g(y) - y does not point down from y, that is as far as it goes.
        start: (...). sweeps: at most so many.

    Returns:
        The y of the least |f| downhill (...), and whether that is within a 1e-2th of the way or rounding ().
    """
    dtype = start.dtype
    endless, none, whole = jnp.asarray(jnp.inf, dtype), jnp.int32(0), jnp.ones((), dtype)
    empty = jnp.zeros((_MEMORY, *start.shape), dtype)

    def sweep(state: _State) -> _State:
        value, height = g(state.y)
        residual, before = value - state.y, state.value - state.last
        change = _norm(residual)
        rounding = 8 * jnp.finfo(dtype).eps * (1 + jnp.abs(state.height))
        down = (height <= state.height + rounding) & jnp.isfinite(change)
        values = _remembered(state.values, value - state.value, state.count)
        residuals = _remembered(state.residuals, residual - before, state.count)
        move = residual - jnp.tensordot(
            _weights(residuals, residual), values, axes=1, precision="highest"
        )
        # A secant across a top leads back to it.
        move = jnp.where(jnp.sum(move * residual) > 0, move, residual)
        onward = state.y + jnp.minimum(1, _LONGEST * change / _norm(move)) * move
        better, falls = down & (change < state.least), down & (change < 0.9 * state.mark)
        first = jnp.where(state.count > 0, state.first, height)
        enough = jnp.maximum(rounding, _FALL * (first - state.height))
        progress = falls | (height < state.height - enough)
        return _State(
            y=jnp.where(down, onward, state.last + state.share * before),
            last=jnp.where(down, state.y, state.last),
            value=jnp.where(down, value, state.value),
            first=first,
            height=jnp.where(down, height, state.height),
            share=jnp.where(down, whole, _SHORTER * state.share),
            values=jnp.where(down, values, empty),
            residuals=jnp.where(down, residuals, empty),
            best=jnp.where(better, state.y, state.best),
            least=jnp.where(better, change, state.least),
            mark=jnp.where(falls, change, state.mark),
            idle=jnp.where(progress, 0, state.idle + 1),
            count=state.count + 1,
        )

    def within(share: float, state: _State) -> Array:
        rest = _REST * jnp.finfo(dtype).eps * _norm(state.best)
        return state.least <= jnp.maximum(share * _norm(state.best - start), rest)

    def unsettled(state: _State) -> Array:
        stalled = (state.idle >= _IDLE_NEAR) & within(1e-2, state)
        ended = within(1e-4, state) | stalled | (state.idle >= _IDLE)
        return ~ended & (state.count < sweeps)

    begun = _State(
        y=start,
        last=start,
        value=start,
        first=endless,
        height=endless,
        share=whole,
        values=empty,
        residuals=empty,
        best=start,
        least=endless,
        mark=endless,
        idle=none,
        count=none,
    )
    found = jax.lax.while_loop(unsettled, sweep, begun)
    return found.best, within(1e-2, found)


def _remembered(changes: Array, new: Array, count: Array) -> Array:
    # Before the second sweep there is no change.
    return jnp.where(count > 0, jnp.roll(changes, 1, axis=0).at[0].set(new), changes)


def _weights(changes: Array, residual: Array) -> Array:
    """gamma that minimises |f - F gamma|: (m,), 0 for a change of 0."""
    flat = changes.reshape(len(changes), -1)
    length = jnp.linalg.norm(flat, axis=1)
    length = jnp.where(length > 0, length, 1)
    unit = flat / length[:, None]
    gram = jnp.matmul(unit, unit.T, precision="highest")
    # A change of 0 has 1 on the diagonal, too.
    gram = gram + jnp.diag(1 + _RIDGE - jnp.diag(gram))
    along = jnp.matmul(unit, residual.ravel(), precision="highest")
    return jnp.linalg.solve(gram, along) / length


def _norm(array: Array) -> Array:
    return jnp.max(jnp.abs(array))
