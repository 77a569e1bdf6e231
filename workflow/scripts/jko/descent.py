"""Proximal steps of a whole population, downhill from where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

# Steps whose changes of the slope make the curvature of the next, and places that one step may try.
_MEMORY, _PLACES = 10, 10
# Share of |J| by which a step may seem to rise: J is a difference of larger numbers, in float32.
_ROUNDING = 1e-5
# Steps without progress after which one near enough is as good as the last, and after which none will come.
_IDLE_NEAR, _IDLE = 3, 10
# Roundings of the largest number within which everything is at rest.
_REST = 16


class _State(NamedTuple):
    """The way u, and what L-BFGS remembers, with J and grad J at u.

    height, slope: J and |grad J| at the last progress. idle: steps since then.
    """

    way: Array
    memory: optax.OptState
    height: Array
    slope: Array
    idle: Array
    count: Array


def proximal_minimum(
    function: Callable[[Array], tuple[Array, Array]], x: Array, steps: int
) -> tuple[Array, Array]:
    """A stationary point y of f(y) + |y - x|^2 / 2, downhill from x to rounding: y = x - grad f(y).

    By L-BFGS (Liu and Nocedal 1989) with the line search of Nocedal and Wright (algorithms 3.5 and 3.6) and the approximate decrease
    of Hager and Zhang (2006), on J(u) = f(x + s u) / s^2 + |u|^2 / 2, where s^2 is the number of components: the first place tried
    is x - grad f(x) or, where that is further, a root mean square of 1 on the way there.
    There is progress where J falls beyond rounding, or |grad J| by a tenth. Ends when |grad J| is a 1e-4th of
    |u| or rounding, when there was no progress in three steps and |grad J| is within a 1e-2th of |u|, or in ten steps, or
    where u is not finite, or after so many; these norms are largest components.

    Args:
        function: y (...) to f(y) () and grad f(y) (...).
        x: (...). steps: at most so many.

    Returns:
        y (...), and whether |grad J| is within a 1e-2th of |u| or rounding there ().
    """
    s = jnp.sqrt(jnp.asarray(x.size, x.dtype))
    eps = jnp.finfo(x.dtype).eps
    search = optax.scale_by_zoom_linesearch(
        _PLACES, approx_dec_rtol=_ROUNDING, initial_guess_strategy="one"
    )
    solver = optax.lbfgs(memory_size=_MEMORY, linesearch=search)

    def objective(way: Array) -> Array:
        # The slope of f comes with its value, and is not derived anew.
        here = jax.lax.stop_gradient(way)
        value, slope = jax.lax.stop_gradient(function(x + s * here))
        return value / s**2 + jnp.sum(slope / s * (way - here)) + jnp.sum(way**2) / 2

    def step(state: _State) -> _State:
        value, slope = _known(state.memory)
        move, memory = solver.update(
            slope, state.memory, state.way, value=value, grad=slope, value_fn=objective
        )
        height, slope = _known(memory)
        fell = height < state.height - 8 * eps * jnp.abs(state.height)
        progress = fell | (_norm(slope) < 0.9 * state.slope)
        return _State(
            way=optax.apply_updates(state.way, move),
            memory=memory,
            height=jnp.where(progress, height, state.height),
            slope=jnp.where(progress, _norm(slope), state.slope),
            idle=jnp.where(progress, 0, state.idle + 1),
            count=state.count + 1,
        )

    def within(share: float, state: _State) -> Array:
        rest = _REST * eps * _norm(x / s + state.way)
        return _norm(_known(state.memory)[1]) <= jnp.maximum(share * _norm(state.way), rest)

    def unfinished(state: _State) -> Array:
        stalled = (state.idle >= _IDLE_NEAR) & within(1e-2, state)
        lost = ~jnp.isfinite(_norm(state.way))
        ended = within(1e-4, state) | stalled | (state.idle >= _IDLE) | lost
        return ~ended & (state.count < steps)

    still, none = jnp.zeros_like(x), jnp.int32(0)
    value, slope = jax.value_and_grad(objective)(still)
    memory = optax.tree.set(solver.init(still), value=value, grad=slope)
    begun = _State(still, memory, value, _norm(slope), none, none)
    found = jax.lax.while_loop(unfinished, step, begun)
    return x + s * found.way, within(1e-2, found)


def _known(memory: optax.OptState) -> tuple[Array, Array]:
    """J and grad J at the last place, which the line search leaves behind."""
    return optax.tree.get(memory, "value"), optax.tree.get(memory, "grad")


def _norm(array: Array) -> Array:
    return jnp.max(jnp.abs(array))
