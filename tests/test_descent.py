"""Proximal steps of linear systems and roots that are known, downhill only."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko.descent import proximal_minimum

RNG = np.random.default_rng(0)
B = RNG.normal(size=(500, 2)).astype(np.float32)


def of(function):
    """f as :func:`proximal_minimum` takes it."""
    return jax.value_and_grad(function)


@jax.jit
def quadratic(curvature, left, free):
    """The step from 0 under f = y^T (A - 1) y / 2 - b^T y, with a constant that takes digits."""
    total = curvature.size * free
    f = of(lambda y: jnp.sum((curvature - 1) * y**2 / 2 - left * y + free) - total)
    return proximal_minimum(f, jnp.zeros_like(left), 200)


@pytest.mark.parametrize("constant", [0, 10])
@pytest.mark.parametrize("scale", [1, 1e-3])
@pytest.mark.parametrize(("least", "most"), [(0.5, 12), (0.05, 1), (0.05, 1.9), (1, 100), (1, 400)])
def test_the_step_of_a_quadratic_solves_its_linear_system(least, most, scale, constant):
    """A y = b, for a diagonal A of 1000 curvatures, in any units."""
    curvature = jnp.asarray(np.geomspace(least, most, 1000).reshape(500, 2), jnp.float32)
    left = jnp.float32(scale) * B
    found, settled = quadratic(curvature, left, jnp.float32(constant * scale**2))
    assert settled
    ends = left / curvature
    np.testing.assert_allclose(found, ends, atol=0.01 * float(jnp.max(jnp.abs(ends))))


@pytest.mark.parametrize(("scale", "steps"), [(0.9, 1), (100, 20)])
def test_a_slope_that_is_the_same_everywhere_is_gone_down(scale, steps):
    """At once, or where its root mean square is above one in more steps."""
    slope = jnp.asarray(scale * B / np.sqrt(np.mean(B**2)), jnp.float32)
    found, settled = proximal_minimum(of(lambda y: jnp.sum(slope * y)), jnp.ones((500, 2)), steps)
    assert settled
    np.testing.assert_allclose(found, 1 - slope, atol=1e-4 * float(jnp.max(jnp.abs(slope))))


def test_a_kink_that_steps_cannot_meet_is_not_settled():
    """f = 5 sum |y - 0.3|: the slope jumps across each kink and is zero nowhere near."""
    f = of(lambda y: 5 * jnp.sum(jnp.abs(y - 0.3)))
    assert not proximal_minimum(f, jnp.asarray(B), 200)[1]


def test_what_falls_without_end_has_no_minimum():
    curvature = np.full((500, 2), 0.5, np.float32)
    curvature[2, 1] = -3
    f = of(lambda y: jnp.sum((curvature - 1) * y**2 / 2 - B * y))
    assert not proximal_minimum(f, jnp.zeros((500, 2)), 50)[1]


@pytest.mark.parametrize("start", [0.1, -0.1, 0.7, -1.2, 1.5])
def test_steps_lead_into_the_well_at_hand_and_not_to_the_top_between_two(start):
    """f = 2 (y^2 - 1)^2: y = x - 8 (y^3 - y), whose middle root is a top."""
    found, settled = proximal_minimum(
        of(lambda y: 2 * jnp.sum((y**2 - 1) ** 2)), jnp.full(1, start, jnp.float32), 50
    )
    end = max(np.roots([8, 0, -7, -start]).real, key=lambda root: root * start)
    assert settled and found[0] == pytest.approx(end, abs=1e-3)
    after, before = (2 * (y**2 - 1) ** 2 + (y - start) ** 2 / 2 for y in (float(found[0]), start))
    assert after < before


def test_a_known_root_is_found():
    """f = -sin y from 0: y = cos y, 0.739085."""
    found, settled = proximal_minimum(of(lambda y: -jnp.sum(jnp.sin(y))), jnp.zeros(1), 6)
    assert settled and found[0] == pytest.approx(0.739085, abs=1e-4)


def test_what_is_at_rest_stays():
    """No step is made."""
    found, settled = proximal_minimum(of(lambda y: jnp.sum((y - B) ** 2)), jnp.asarray(B), 0)
    assert settled
    np.testing.assert_array_equal(found, B)


@pytest.mark.parametrize("steps", [1, 50, 10**9])
def test_what_is_no_number_or_out_of_reach_is_said_so_and_ends(steps):
    start = jnp.asarray(B)
    for f in (
        lambda y: (jnp.zeros(()), jnp.full_like(y, jnp.nan)),
        lambda y: (jnp.nan * jnp.sum(y), y * jnp.nan),
        of(lambda y: -jnp.sum(y**4)),
    ):
        assert not proximal_minimum(f, start, steps)[1]
