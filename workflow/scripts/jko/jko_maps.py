"""The JKO step of a potential, as a transport map that descends it or as proximal points.

For a cloud rho and a potential v, in units where the step has length h, the step is

    min_T  J(T) = E_rho [v(T(z)) + |T(z) - z|^2 / (2 h)]

A map is a network of one of two kinds, known by the key of its parameters:

- icnn: T = grad psi of a convex psi(z) = s |z|^2 / 2 + a phi(z), phi an ICNN and s = max(1 - a q, 0)
  with q learned. Brenier's theorem wants such a T, for optimal transport.
- mlp: T(z) = e z + a u(z), u an MLP; nothing keeps it from crossing paths.

With a = h and e = 1 the networks speak of velocities; with a = 1 and e = 0 those of an icnn speak of steps, of an
mlp of places.

The minimum is sought by Adam. The derivative of what follows from the optimum T*, with respect to v
and to the cloud, is that of the unrolled loop, or the implicit one: with g = grad_theta J,
dtheta* = -(grad_theta g)^{-1} dg, of which the transpose is one linear system, solved by
conjugate gradients from products with the Hessian. Unrolling keeps the parameters of every
step, and recomputes the rest. The implicit derivative keeps the last ones only; it errs with g where that is not
zero, and where few iterations, the damping or a Hessian with negative eigenvalues leave the system unsolved.

Since no particle sees another, T* is particle by particle the proximal point y of v, with
grad v(y) + (y - z) / h = 0: :func:`proximal` needs no network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.scipy.sparse.linalg import cg
from optax import GradientTransformation, tree

from jko.batches import Clouds
from jko.networks import ICNN, MLP, apply_icnn, apply_mlp
from jko.solvers import proximal_points
from jko.training import GradientState, descend


class Reach(NamedTuple):
    """How the network of a map enters it, a and e of the module's text: () each."""

    network: Array
    identity: Array


class Step(NamedTuple):
    """One JKO step to be done.

    Attributes:
        cloud: z (m, d) and weight (m,). h: () its length. t: () time at its end. reach: of the map.
        monge_gap: () weight of the Monge gap in J, 0 for none.
    """

    cloud: Clouds
    h: Array
    t: Array
    reach: Reach
    monge_gap: Array


class Loop(NamedTuple):
    """How the minimum over maps is sought, known when the program is compiled.

    Attributes:
        optimizer: of the map's parameters. steps: at most so many.
        tolerance: the loop ends where |grad_theta J| / h is below it; 0 for all steps.
        monge_gap: whether J has one.
        damping, solves: lambda and most iterations of the conjugate gradients on grad_theta g + h lambda.
    """

    optimizer: GradientTransformation
    steps: int
    tolerance: float
    monge_gap: bool
    damping: float
    solves: int


def init(key: Array, kind: str, dimension: int, hidden: Sequence[int]) -> dict:
    """Random parameters of a map of a kind."""
    z = jnp.zeros(dimension)
    if kind == "icnn":
        return {"icnn": ICNN(hidden).init(key, z), "q": jnp.zeros(())}
    return {"mlp": MLP(hidden, dimension, nn.selu).init(key, z)}


def transport(theta: Mapping, z: Array, reach: Reach) -> Array:
    """T(z) for z (d,)."""
    a, e = reach
    if "icnn" in theta:
        stretch = jax.nn.relu(1 - a * theta["q"])
        return stretch * z + a * jax.grad(partial(apply_icnn, theta["icnn"]))(z)
    return e * z + a * apply_mlp(theta["mlp"], z, z.size, nn.selu)


def moved(theta: Mapping, step: Step) -> Clouds:
    """The cloud that the map makes."""
    z = jax.vmap(transport, in_axes=(None, 0, None))(theta, step.cloud.z, step.reach)
    return step.cloud._replace(z=z)


def objective(v: Callable, loop: Loop, theta: Mapping, nets: Any, step: Step) -> Array:
    """J of a map: (), with v(nets, z, t) the potential."""
    image = moved(theta, step).z
    mass = step.cloud.weight / jnp.sum(step.cloud.weight)
    values = jax.vmap(v, in_axes=(None, 0, None))(nets, image, step.t)
    way = jnp.sum((image - step.cloud.z) ** 2, axis=1) / (2 * step.h)
    total = mass @ (values + way)
    if loop.monge_gap:
        total = total + step.monge_gap * monge_gap(step.cloud.z, image)
    return total


def monge_gap(z: Array, image: Array) -> Array:
    """mean |z - T(z)|^2 less the entropic transport cost between the clouds (Uscidda and Cuturi 2023), by ott-jax
    with its own epsilon, every particle of the same weight.

    Derivatives of every order take the plan and epsilon as fixed: for this epsilon the first is exact (Danskin), a
    second lacks the plan's change.
    """
    # It takes a second to import, and few methods ask for it.
    from ott.neural.methods.monge_gap import monge_gap_from_samples

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        gap, output = jax.lax.stop_gradient(monge_gap_from_samples(z, image, return_output=True))
    cost = jnp.sum((z[:, None, :] - image[None, :, :]) ** 2, axis=-1)
    linear = jnp.mean(jnp.sum((z - image) ** 2, axis=1)) - jnp.sum(output.matrix * cost)
    # The value is that of ott-jax, whose entropy is constant for a fixed plan.
    return gap + linear - jax.lax.stop_gradient(linear)


def _gradient(v, loop, theta, nets, step):
    return jax.grad(objective, argnums=2)(v, loop, theta, nets, step)


def unrolled(v: Callable, loop: Loop, theta: Mapping, nets: Any, step: Step) -> Mapping:
    """Parameters after all steps of Adam from ``theta``, through which derivatives go."""

    # Recomputing is faster than storing what does not fit the cache, and takes 30 times less memory.
    @jax.checkpoint
    def one(state, _):
        return descend(state, _gradient(v, loop, state.params, nets, step), loop.optimizer), None

    start = GradientState(theta, loop.optimizer.init(theta))
    return jax.lax.scan(one, start, None, length=loop.steps)[0].params


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def implicit(v: Callable, loop: Loop, theta: Mapping, nets: Any, step: Step) -> Mapping:
    """Parameters at the end of the loop, with the derivative of the minimiser; none by the start."""

    def unfinished(carry):
        _, count, size = carry
        return (count < loop.steps) & (size > loop.tolerance)

    def one(carry):
        state, count, _ = carry
        gradient = _gradient(v, loop, state.params, nets, step)
        return descend(state, gradient, loop.optimizer), count + 1, tree.norm(gradient) / step.h

    start = GradientState(theta, loop.optimizer.init(theta))
    far = jnp.asarray(jnp.inf, step.h.dtype)
    return jax.lax.while_loop(unfinished, one, (start, jnp.int32(0), far))[0].params


def _implicit_forward(v, loop, theta, nets, step):
    found = implicit(v, loop, theta, nets, step)
    return found, (found, nets, step)


def _implicit_backward(v, loop, kept, cotangent):
    found, nets, step = kept

    def hessian(direction):
        product = jax.jvp(
            lambda theta: _gradient(v, loop, theta, nets, step), (found,), (direction,)
        )[1]
        return jax.tree.map(lambda h, d: h + step.h * loop.damping * d, product, direction)

    direction, _ = cg(hessian, cotangent, maxiter=loop.solves)
    _, pull = jax.vjp(lambda nets, step: _gradient(v, loop, found, nets, step), nets, step)
    nets_bar, step_bar = pull(jax.tree.map(jnp.negative, direction))
    return jax.tree.map(jnp.zeros_like, found), nets_bar, step_bar


implicit.defvjp(_implicit_forward, _implicit_backward)


# How the derivative goes through the loop.
GRADIENTS = {"unrolled": unrolled, "implicit": implicit}


def proximal(v: Callable, nets: Any, step: Step) -> Clouds:
    """The cloud of proximal points (:func:`jko.solvers.proximal_point`), with their implicit derivative.

    One more Newton step from the point, held fixed, changes nothing where the condition holds, and has the derivative
    -(I / h + Hessian of v)^{-1} of the condition.
    """

    def value(z):
        return v(nets, z, step.t)

    points = jax.lax.stop_gradient(proximal_points(value, step.cloud.z, step.h))

    def newton(y, z):
        condition = jax.grad(value)(y) + (y - z) / step.h
        curvature = jax.hessian(value)(y) + jnp.eye(y.size, dtype=y.dtype) / step.h
        return y - jnp.linalg.solve(jax.lax.stop_gradient(curvature), condition)

    return step.cloud._replace(z=jax.vmap(newton)(points, step.cloud.z))


def slope(v: Callable, loop: Loop, theta: Mapping, nets: Any, step: Step) -> Array:
    """|grad_theta J| / h of a map: (), zero where the inner problem is solved."""
    return tree.norm(_gradient(v, loop, theta, nets, step)) / step.h
