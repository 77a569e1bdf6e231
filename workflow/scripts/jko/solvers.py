"""Steps of a population under an energy: explicit Euler-Maruyama, implicit (proximal) Euler, and the flow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from jko.descent import proximal_minimum
from jko.energies import Energy, drifts, mean_pulls, noise_scale

Scheme = Literal["explicit", "implicit", "flow"]

_NEWTON_STEPS = 25
_LENGTHS = 6
# Euler steps in a step of the flow.
_SUBSTEPS = 25
# Dimension from which on a Cholesky factor is worth the time that it takes to compile.
_MANY = 8
# Particles whose proximal points are sought together: a block ends with its slowest particle, and a few
# of them take five times as long as the others.
BLOCK_PARTICLES = 32


def euler_step(energy: Energy, key: Array | None, cloud: Array, t: Array, tau: Array) -> Array:
    """One Euler-Maruyama step (jkonet_star eq. 13).

    x' = x - tau grad V(x, t) - tau mean_y grad W(x - y) + sqrt(2 tau beta) n

    Args:
        key: of the noise, None without an entropy: drawing it takes a second to compile.
        cloud: (n, d) the population at time t. t, tau: () time and step.

    Returns:
        (n, d) the population at time t + tau.
    """
    return cloud + tau * drifts(energy, cloud, t) + _noise(energy, key, cloud, tau)


@jax.custom_batching.custom_vmap
def absolute_solve(matrix: Array, vector: Array, floor: Array) -> Array:
    """|A|^{-1} b for symmetric A (d, d) and b (d,), with the eigenvalues of A by absolute value and at least ``floor`` ()."""
    values, vectors = jnp.linalg.eigh(matrix)
    return vectors @ ((vectors.T @ vector) / jnp.maximum(jnp.abs(values), floor))


@absolute_solve.def_vmap
def _absolute_solves(size: int, batched: list[bool], *arguments: Array) -> tuple[Array, bool]:
    # Where no eigenvalue is below the floor, A is its own absolute value, and its Cholesky factor takes a tenth of the time
    # of its eigenvectors in 50 dimensions. For a batch of batches both are computed.
    matrix, vector, floor = (
        value if given else jnp.broadcast_to(value, (size, *jnp.shape(value)))
        for value, given in zip(arguments, batched, strict=True)
    )
    by_eigenvectors = jax.vmap(absolute_solve.fun)
    if vector.shape[1] < _MANY:
        return by_eigenvectors(matrix, vector, floor), True
    solved = jax.lax.cond(
        jax.vmap(_above)(matrix, floor).all(),
        lambda: jax.vmap(_positive_solve)(matrix, vector),
        lambda: by_eigenvectors(matrix, vector, floor),
    )
    return solved, True


def _above(matrix, floor):
    # The factor is not finite where A - floor has an eigenvalue below zero.
    shifted = matrix - floor * jnp.eye(len(matrix), dtype=matrix.dtype)
    return jnp.isfinite(jnp.linalg.cholesky(shifted)).all()


def _positive_solve(matrix, vector):
    return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(matrix), True), vector)


def proximal_point(potential: Callable[[Array], Array], x: Array, tau: Array) -> Array:
    """A local minimiser y of V(y) + |y - x|^2 / (2 tau), reached downhill from x: y = x - tau grad V(y).

    Newton steps with the Hessian's eigenvalues taken by absolute value, so that each is a descent
    direction where V is not convex, and with shorter steps to choose from, so that the objective
    never rises. Ends when no step lowers the objective or its gradient, when a step is a 1e-5th of
    the way from x, or after 25 steps.

    Args:
        potential: V for y (d,). x: (d,). tau: ().
    """

    def objective(y):
        return potential(y) + jnp.sum((y - x) ** 2) / (2 * tau)

    def slope(y):
        gradient = jax.grad(objective)(y)
        return gradient, gradient

    def newton(state):
        y, here, count, _ = state
        hessian, gradient = jax.jacfwd(slope, has_aux=True)(y)
        # Below a tenth of the proximal curvature 1/tau the quadratic model says too little to follow.
        direction = -absolute_solve(hessian, gradient, 0.1 / tau)
        lengths = 0.25 ** jnp.arange(_LENGTHS, dtype=y.dtype)  # (h,)
        candidates = y[None, :] + lengths[:, None] * direction[None, :]  # (h, d)
        heights = jax.vmap(objective)(candidates)
        lowest = jnp.argmin(heights)
        lower = heights[lowest] < here
        # Where the objective is flat to rounding, the gradient still tells a better point.
        flat = heights[0] <= here + 4 * jnp.finfo(y.dtype).eps * (1 + jnp.abs(here))
        better = flat & (_norm(jax.grad(objective)(candidates[0])) < _norm(gradient))
        chosen = jnp.where(better, 0, lowest)
        moving = lower | better
        moved, height = (
            jnp.where(moving, new[chosen], old) for new, old in ((candidates, y), (heights, here))
        )
        small = _norm(direction) <= 1e-5 * _norm(y - x)
        return moved, height, count + 1, moving & ~small

    def unfinished(state):
        _, _, count, moving = state
        return moving & (count < _NEWTON_STEPS)

    start = (x, objective(x), jnp.int32(0), jnp.bool_(True))
    return jax.lax.while_loop(unfinished, newton, start)[0]


def proximal_points(potential: Callable[[Array], Array], cloud: Array, tau: Array) -> Array:
    """The :func:`proximal_point` of every particle of a cloud (n, d), some at a time."""
    block = min(len(cloud), BLOCK_PARTICLES)
    return jax.lax.map(lambda x: proximal_point(potential, x, tau), cloud, batch_size=block)


def _norm(vector: Array) -> Array:
    return jnp.max(jnp.abs(vector))


def implicit_euler_step(
    energy: Energy, key: Array | None, cloud: Array, t: Array, tau: Array, steps: int = 200
) -> Array:
    """One implicit step y = x - tau grad(V + W * rho')(y) with rho' the law of y, plus the noise.

    This is the JKO step of F without its entropy; the entropy acts as the noise sqrt(2 tau beta) n,
    as in the explicit scheme. Without an interaction y is the :func:`proximal_point` of every particle by itself. With one
    the population is a :func:`jko.descent.proximal_minimum` of

        tau [sum_i V(y_i) + n mean_ij W(y_i - y_j) / 2].

    The pull (grad W * rho')(y) is the slope of its last term for an even W, as all learned ones are.

    Args:
        key, cloud: as of :func:`euler_step`. t, tau: () time and step; V is taken at t + tau.
        steps: of the descent, at most.

    Returns:
        (n, d) the population at time t + tau; NaN where the descent did not settle.
    """

    def potential(y):
        return energy.potential(y, t + tau)

    def total(y):
        pulls, mean = mean_pulls(energy.interaction, y)
        values, slopes = jax.vmap(jax.value_and_grad(potential))(y)
        return tau * (jnp.sum(values) + len(y) * mean / 2), tau * (slopes + pulls)

    if energy.interaction is None:
        return proximal_points(potential, cloud, tau) + _noise(energy, key, cloud, tau)
    y, settled = proximal_minimum(total, cloud, steps)
    return jnp.where(settled, y, jnp.nan) + _noise(energy, key, cloud, tau)


def flow_step(energy: Energy, key: Array | None, cloud: Array, t: Array, tau: Array) -> Array:
    """The flow dX = -grad(V + W * rho)(X, t) dt + sqrt(2 beta) dB over tau, by 25 Euler-Maruyama steps.

    Args:
        key, cloud, t, tau: as of :func:`euler_step`.

    Returns:
        (n, d) the population at time t + tau.
    """
    short = tau / _SUBSTEPS

    def substep(moved, number):
        at = t + short * number.astype(cloud.dtype)
        new = None if key is None else jax.random.fold_in(key, number)
        return euler_step(energy, new, moved, at, short), None

    return jax.lax.scan(substep, cloud, jnp.arange(_SUBSTEPS))[0]


def _noise(energy: Energy, key: Array | None, cloud: Array, tau: Array) -> Array:
    if key is None:
        return jnp.zeros_like(cloud)
    scale = jnp.asarray(noise_scale(energy, tau), cloud.dtype)
    return scale * jax.random.normal(key, cloud.shape, cloud.dtype)


STEPS = {"explicit": euler_step, "implicit": implicit_euler_step, "flow": flow_step}


@partial(jax.jit, static_argnames="scheme")
def step(
    energy: Energy, key: Array | None, cloud: Array, t: Array, tau: Array, scheme: Scheme
) -> Array:
    """One compiled step of the population by the named scheme: (n, d) at t to (n, d) at t + tau."""
    return STEPS[scheme](energy, key, cloud, t, tau)
