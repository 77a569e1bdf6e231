"""Fixed points by linear systems and roots that are known, downhill only."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko.fixed_points import fixed_point

RNG = np.random.default_rng(0)
B = RNG.normal(size=(5, 2)).astype(np.float32)


def bowl(curvature):
    """y -> b - (A - 1) y, which is fixed at A^-1 b, where y^T A y / 2 - b^T y is least if A is positive; A is diagonal."""

    def g(y):
        return B - (curvature - 1) * y, jnp.sum(curvature * y**2) / 2 - jnp.sum(B * y)

    return g


@pytest.mark.parametrize("steepest", [1.0, 1.8, 3.0, 12.0])
def test_the_fixed_point_is_that_of_a_linear_system_also_where_sweeps_run_away(steepest):
    curvature = jnp.asarray(np.geomspace(0.5, steepest, 10).reshape(5, 2), jnp.float32)
    found, settled = jax.jit(lambda: fixed_point(bowl(curvature), jnp.zeros((5, 2)), 50))()
    assert settled
    np.testing.assert_allclose(found, B / curvature, atol=1e-3 * np.max(np.abs(B)))


@pytest.mark.parametrize(
    ("least", "most", "error"), [(0.5, 12, 0.01), (0.05, 1, 0.01), (0.05, 1.9, 0.01)]
)
def test_many_curvatures_at_once_take_more_sweeps_and_settle_too(least, most, error):
    """Where |f| rises for a while, heights still fall; where it falls by little in a sweep, it does so for long."""
    curvature = jnp.asarray(np.geomspace(least, most, 1000).reshape(500, 2), jnp.float32)
    wanted = jnp.asarray(RNG.normal(size=(500, 2)), jnp.float32)

    def g(y):
        return wanted - (curvature - 1) * y, jnp.sum(curvature * y**2 / 2 - wanted * y)

    found, settled = jax.jit(lambda: fixed_point(g, jnp.zeros((500, 2)), 100))()
    assert settled
    ends = wanted / curvature
    np.testing.assert_allclose(found, ends, atol=error * float(jnp.max(jnp.abs(ends))))


def test_what_is_near_enough_and_falls_no_further_is_taken_after_three_sweeps():
    """A ripple that is too short for a fixed point: |f| stays near a 1e-3th of the way."""
    count = []

    def g(y):
        jax.debug.callback(lambda: count.append(1))
        return 0.5 * y + 0.5 + 1e-3 * jnp.sin(1e6 * y), jnp.sum((y - 1) ** 2)

    found, settled = fixed_point(g, jnp.zeros((30, 2)), 100)
    jax.effects_barrier()
    assert settled and len(count) < 12
    np.testing.assert_allclose(found, 1, atol=0.01)


def test_no_place_is_taken_that_is_higher_than_the_one_before():
    """The sweep from 0 ends at 1 and all from there on at 1.001, which is uphill: 0 is the last place downhill."""
    found, settled = fixed_point(
        lambda y: (jnp.where(y < 0.5, 1.0, 1.001), jnp.where(y[0] > 0, 1.0, 0.0)),
        jnp.zeros(1),
        50,
    )
    assert not settled and found[0] == 0


def test_what_is_fixed_and_no_valley_is_not_found():
    curvature = jnp.full((5, 2), 0.5).at[2, 1].set(-3.0)
    _, settled = fixed_point(bowl(curvature), jnp.zeros((5, 2)), 50)
    assert not settled


@pytest.mark.parametrize(("start", "end"), [(0.1, 1), (-0.1, -1), (0.7, 1), (-1.6, -1)])
def test_steps_lead_down_into_a_well_and_not_to_the_top_between_two(start, end):
    """(y^2 - 1)^2 / 4 by steps along its slope: a secant through the first two places leads back to the top at 0."""

    def g(y):
        return y - 0.4 * (y**3 - y), jnp.sum((y**2 - 1) ** 2) / 4

    found, settled = fixed_point(g, jnp.full(1, start, jnp.float32), 50)
    assert settled and found[0] == pytest.approx(end, abs=2e-3)


def test_a_known_root_is_found_in_fewer_sweeps():
    """y = cos y at 0.739085; ten sweeps alone are 0.008 away."""

    def g(y):
        return jnp.cos(y), jnp.sum(y**2 / 2 - jnp.sin(y))

    found, settled = fixed_point(g, jnp.zeros(1), 5)
    assert settled and found[0] == pytest.approx(0.739085, abs=1e-4)


def test_what_is_fixed_from_the_start_stays():
    found, settled = fixed_point(lambda y: (y, jnp.sum(y)), jnp.asarray(B), 50)
    assert settled
    np.testing.assert_array_equal(found, B)


@pytest.mark.parametrize("sweeps", [1, 50, 10**9])
def test_what_is_no_number_or_out_of_reach_is_said_so_and_ends(sweeps):
    start = jnp.asarray(B)
    for g in (
        lambda y: (jnp.full_like(y, jnp.nan), jnp.zeros(())),
        lambda y: (y * jnp.nan, jnp.nan * jnp.sum(y)),
        lambda y: (y + 1, -jnp.sum(y)),
    ):
        assert not fixed_point(g, start, sweeps)[1]
