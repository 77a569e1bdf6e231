"""Maps of a JKO step: their classes, their inner problem, and derivatives of its optimum by two routes."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from ott.geometry.pointcloud import PointCloud
from ott.neural.methods.monge_gap import monge_gap_from_samples

from jko import jko_maps
from jko.batches import Clouds
from jko.jko_maps import Loop, Reach, Step

rng = np.random.default_rng(4)
Z = rng.normal(size=(9, 2))
WEIGHT = rng.uniform(0.5, 1, 9)
H = 0.2
# One program each, where every operation by itself would be one.
init = jax.jit(jko_maps.init, static_argnums=(1, 2, 3))
moved = jax.jit(jko_maps.moved)
objective = jax.jit(jko_maps.objective, static_argnums=(0, 1))


def step_of(z=Z, h: float = H, relative: bool = True, gap: float = 0.0, dtype=jnp.float32) -> Step:
    """A step whose map speaks of velocities, or of places."""
    reach = (h, 1.0) if relative else (1.0, 0.0)
    cloud = Clouds(jnp.asarray(z, dtype), jnp.asarray(WEIGHT[: len(z)], dtype))
    numbers = [jnp.asarray(number, dtype) for number in (h, 0.0, *reach, gap)]
    return Step(cloud, numbers[0], numbers[1], Reach(*numbers[2:4]), numbers[4])


def loop_of(steps: int = 20, **changes) -> Loop:
    optimizer = optax.adam(0.01, b1=0.5, b2=0.9)
    return Loop(optimizer, steps, 0.0, False, 1e-8, 200)._replace(**changes)


def bowl(p, z, t):
    """p_0 |z|^2 / 2 + p_1 z_0^3 / 6: grad = p_0 z + (p_1 z_0^2 / 2, 0)."""
    return p[0] * jnp.sum(z**2) / 2 + p[1] * z[0] ** 3 / 6


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("q", [-0.7, 0.3, 50.0])
def test_the_jacobian_of_a_convex_map_is_symmetric_and_positive(relative, q):
    net = init(jax.random.key(3), "icnn", 3, (8, 8))["icnn"]["params"]
    # Large weights, and raw ones far below zero, which only the constraint keeps positive.
    strong = {
        name: jax.tree.map(lambda leaf: 20 * leaf, net[name]) if "Dense" in name else net[name] - 3
        for name in net
    }
    theta = {"icnn": {"params": strong}, "q": jnp.float32(q)}
    reach, points = step_of(relative=relative).reach, rng.normal(size=(20, 3)).astype(np.float32)
    jacobian_of = jax.vmap(jax.jacfwd(jko_maps.transport, argnums=1), in_axes=(None, 0, None))
    jacobian = jax.jit(jacobian_of)(theta, points, reach)
    np.testing.assert_allclose(jacobian, np.swapaxes(jacobian, 1, 2), atol=1e-5)
    # The quadratic's share falls with q, down to none.
    share = max(1 - float(reach.network) * q, 0.0)
    assert np.linalg.eigvalsh(jacobian).min() > share - 1e-4


def test_a_map_of_velocities_with_a_zero_network_stays_where_it_is():
    theta = jax.tree.map(jnp.zeros_like, init(jax.random.key(0), "mlp", 2, (4,)))
    step = step_of()
    np.testing.assert_array_equal(moved(theta, step).z, step.cloud.z)
    assert not np.asarray(moved(theta, step_of(relative=False)).z).any()


@pytest.mark.parametrize("kind", ["icnn", "mlp"])
def test_the_inner_objective_is_its_formula(kind):
    theta, step, p = (
        init(jax.random.key(1), kind, 2, (5,)),
        step_of(),
        jnp.array([2.0, 1.0]),
    )
    found = objective(bowl, loop_of(), theta, p, step)
    each = jax.jit(jko_maps.transport)
    image = np.array([each(theta, z, step.reach) for z in step.cloud.z])
    value = np.sum(image**2, axis=1) + image[:, 0] ** 3 / 6
    expected = (WEIGHT / WEIGHT.sum()) @ (value + np.sum((image - Z) ** 2, axis=1) / (2 * H))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_monge_gap_is_paid_by_crossing_paths_only():
    z = jnp.asarray(rng.normal(size=(60, 2)), jnp.float32)
    gap_of = jax.jit(jko_maps.monge_gap)
    straight, crossed = gap_of(z, 0.8 * z + 1), gap_of(z, -z)
    # An entropic cost lies below the exact one, by so much that even straight paths pay a little.
    assert 0 < straight < 0.2 * crossed
    # For ott-jax's epsilon, the first derivative is that of its converged values.
    change = jnp.flip(z, axis=1) - z
    slope = jax.grad(lambda image: jko_maps.monge_gap(z, image))
    found, second = jax.jit(lambda: jax.jvp(slope, (-z,), (change,)))()
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        epsilon = float(PointCloud(z, -z).epsilon)
        images = [-z + sign * 1e-2 * change for sign in (1, -1)]
        by_ott = jax.jit(partial(monge_gap_from_samples, epsilon=epsilon))
        ends = [by_ott(z, image) for image in images]
    np.testing.assert_allclose(jnp.sum(found * change), (ends[0] - ends[1]) / 2e-2, rtol=2e-2)
    # mean |z - T|^2 less the linear cost of a fixed plan with uniform marginals has none at all.
    np.testing.assert_allclose(second, 0, atol=1e-3)
    step, theta = step_of(gap=3.0), init(jax.random.key(1), "mlp", 2, (5,))
    p, loop = jnp.array([2.0, 1.0]), loop_of()
    with_gap = objective(bowl, loop._replace(monge_gap=True), theta, p, step)
    gap = jko_maps.monge_gap(step.cloud.z, moved(theta, step).z)
    np.testing.assert_allclose(with_gap, objective(bowl, loop, theta, p, step) + 3 * gap, rtol=1e-5)


def test_proximal_points_and_their_derivatives_are_the_closed_form():
    """v = p |z|^2 / 2: y = z / (1 + h p), dy/dp = -h z / (1 + h p)^2, dy/dz = 1 / (1 + h p)."""

    def first(p, z):
        return jko_maps.proximal(bowl, jnp.stack([p, 0 * p]), step_of(z)).z

    @jax.jit
    def all_of(p, z):
        return (
            first(p, z),
            jax.jacrev(first)(p, z),
            jax.grad(lambda z: jnp.sum(first(p, z)[:, 0]))(z),
        )

    place, by_p, by_z = all_of(jnp.float32(3.0), jnp.asarray(Z, jnp.float32))
    shrunk = 1 + H * 3.0
    np.testing.assert_allclose(place, Z / shrunk, rtol=1e-5)
    np.testing.assert_allclose(by_p, -H * Z / shrunk**2, rtol=1e-4)
    np.testing.assert_allclose(by_z, np.tile([1 / shrunk, 0], (9, 1)), rtol=1e-5, atol=1e-7)


def outer(solve, loop, start, p, z):
    """What an outer loss would see of the inner optimum, as a function of v and of the cloud."""
    step = step_of(z, dtype=jnp.float64)
    image = moved(solve(bowl, loop, start, p, step), step).z
    return jnp.sum(jnp.sin(image[:, 0]) + image[:, 1] ** 2)


def double(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


def test_the_unrolled_gradient_is_that_of_the_loop_as_it_ran():
    start = init(jax.random.key(2), "icnn", 2, (4, 4))
    with jax.enable_x64(True):
        p, z, start = jnp.array([2.0, 1.0]), jnp.asarray(Z), double(start)
        outer_p = jax.jit(lambda p: outer(jko_maps.unrolled, loop_of(15), start, p, z))
        gradient = jax.jit(jax.grad(outer_p))(p)
        for i, change in enumerate(1e-5 * np.eye(2)):
            difference = (outer_p(p + change) - outer_p(p - change)) / 2e-5
            np.testing.assert_allclose(gradient[i], difference, rtol=1e-5)


@pytest.mark.parametrize("kind, hidden, rate", [("icnn", (4,), 0.5), ("mlp", (16, 16), 0.2)])
def test_at_convergence_the_implicit_gradient_is_the_unrolled_one(kind, hidden, rate):
    """1e-2 relative at most, by a loop that converges. Adam's does not: its steps keep the size of the rate as
    the gradient vanishes, so that their derivative grows without bound.
    """
    start = init(jax.random.key(2), kind, 2, hidden)
    with jax.enable_x64(True):
        p, z, start = jnp.array([2.0, 1.0]), jnp.asarray(Z[:4]), double(start)
        loop = loop_of(4000, optimizer=optax.sgd(rate, momentum=0.9))

        def both(p, z):
            ends = [
                outer(solve, loop, start, p, z) for solve in (jko_maps.unrolled, jko_maps.implicit)
            ]
            return jnp.stack(ends)

        value, gradients = jax.jit(lambda: (both(p, z), jax.jacrev(both, argnums=(0, 1))(p, z)))()
        np.testing.assert_allclose(value[0], value[1], rtol=1e-12)
        one, other = (
            ravel_pytree(jax.tree.map(lambda leaf, i=i: leaf[i], gradients))[0] for i in (0, 1)
        )
        assert np.linalg.norm(one - other) <= 1e-2 * np.linalg.norm(one)
        if kind == "mlp":
            # The second route: the proximal points themselves, which this map reaches.
            exact = jax.jit(jax.grad(outer_of_points))(p, z)
            np.testing.assert_allclose(gradients[0][1], exact, rtol=2e-2)


def outer_of_points(p, z):
    image = jko_maps.proximal(bowl, p, step_of(z, dtype=jnp.float64)).z
    return jnp.sum(jnp.sin(image[:, 0]) + image[:, 1] ** 2)


def test_a_tolerance_ends_the_loop_where_the_slope_is_below_it():
    step, p = step_of(), jnp.array([2.0, 0.0])
    theta = init(jax.random.key(2), "mlp", 2, (16, 16))
    solve, slope = (jax.jit(f, static_argnums=(0, 1)) for f in (jko_maps.implicit, jko_maps.slope))
    loose, tight = (
        solve(bowl, loop_of(2000, tolerance=tolerance), theta, p, step) for tolerance in (0.5, 0.2)
    )
    slopes = [slope(bowl, loop_of(), found, p, step) for found in (theta, loose, tight)]
    assert slopes[0] > slopes[1] > slopes[2]
    assert slopes[2] < 0.25
