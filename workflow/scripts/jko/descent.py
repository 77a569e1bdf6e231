"""Proximal steps of a whole population: local minima, downhill from where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

# Steps whose changes of the slope make the curvature of the next, and places that one step may try.
_MEMORY, _PLACES = 10, 20
# Steps without progress after which none will come.
_IDLE = 5
# Roundings of the largest number within which everything is at rest.
_REST = 16


class _State(NamedTuple):
    """The way u, what L-BFGS remembers, with height J and slope of u, and what tells progress.

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
    """A local minimiser y of f(y) + |y - x|^2 / 2, so that y = x - grad f(y), downhill from x.

    By L-BFGS (Liu and Nocedal 1989) with the line search of Hager and Zhang (2006), on J(u) = f(x + s u) / s^2 + |u|^2 / 2, where
    s^2 is the number of components: the first place tried is x - grad f(x), or as far along as a root mean square of 1.
    There is progress where J falls beyond rounding, or |grad J| by a tenth. Ends when |grad J| is a 1e-4th of
    |u| or rounding, in five steps without progress, or after so many; these norms are largest components.

    Args:
        function: y (...) to f(y) () and grad f(y) (...).
        x: (...). steps: at most so many.

    Returns:
        y (...), and whether |grad J| is within a 1e-2th of |u| or rounding there ().
    """
    s = jnp.sqrt(jnp.asarray(x.size, x.dtype))
    search = optax.scale_by_zoom_linesearch(_PLACES, initial_guess_strategy="one")
    solver = optax.lbfgs(memory_size=_MEMORY, linesearch=search)

    def objective(way: Array) -> Array:
        # The slope of f comes with its value, and is not derived anew.
        here = jax.lax.stop_gradient(way)
        value, slope = jax.lax.stop_gradient(function(x + s * here))
        return value / s**2 + jnp.sum(slope / s * (way - here)) + jnp.sum(way**2) / 2

    value_and_slope = optax.value_and_grad_from_state(objective)

    def step(state: _State) -> _State:
        value, slope = value_and_slope(state.way, state=state.memory)
        move, memory = solver.update(
            slope, state.memory, state.way, value=value, grad=slope, value_fn=objective
        )
        height, size = optax.tree.get(memory, "value"), _norm(optax.tree.get(memory, "grad"))
        before = jnp.where(state.count > 0, state.height, value)
        rounding = 8 * jnp.finfo(x.dtype).eps * (1 + jnp.abs(before))
        progress = (height < before - rounding) | (size < 0.9 * state.slope)
        return _State(
            way=optax.apply_updates(state.way, move),
            memory=memory,
            height=jnp.where(progress, height, before),
            slope=jnp.where(progress, size, state.slope),
            idle=jnp.where(progress, 0, state.idle + 1),
            count=state.count + 1,
        )

    def within(share: float, state: _State) -> Array:
        rest = _REST * jnp.finfo(x.dtype).eps * _norm(x / s + state.way)
        size = _norm(optax.tree.get(state.memory, "grad"))
        return size <= jnp.maximum(share * _norm(state.way), rest)

    def unfinished(state: _State) -> Array:
        going = ~within(1e-4, state) & (state.idle < _IDLE) & (state.count < steps)
        # There is no slope before the first step.
        return going | (state.count == 0)

    still, endless, none = jnp.zeros_like(x), jnp.asarray(jnp.inf, x.dtype), jnp.int32(0)
    begun = _State(still, solver.init(still), endless, endless, none, none)
    found = jax.lax.while_loop(unfinished, step, begun)
    return x + s * found.way, within(1e-2, found)


def _norm(array: Array) -> Array:
    return jnp.max(jnp.abs(array))
