"""Entropic losses against POT, and where their gradients vanish."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest

from jko.batches import Clouds
from jko.divergences import divergence, sinkhorn_loss

rng = np.random.default_rng(2)
X, Y = rng.normal(size=(30, 2)), rng.normal(size=(40, 2)) + 0.5
A, B = rng.uniform(0.5, 1, 30), rng.uniform(0.5, 1, 40)


def cloud(z, weight) -> Clouds:
    return Clouds(jnp.asarray(z, jnp.float32), jnp.asarray(weight, jnp.float32))


def by_pot(x, a, y, b, epsilon: float) -> float:
    a, b, cost = a / a.sum(), b / b.sum(), ot.dist(x, y)
    plan = ot.sinkhorn(a, b, cost, epsilon, stopThr=1e-6, numItermax=20000)
    return float(np.sum(plan * cost) + epsilon * np.sum(plan * np.log(plan)))


@pytest.mark.parametrize("epsilon", [0.3, 2.0])
def test_the_losses_are_those_of_pot(epsilon):
    found = sinkhorn_loss(cloud(X, A), cloud(Y, B), jnp.float32(epsilon))
    cross = by_pot(X, A, Y, B, epsilon)
    assert found.converged
    np.testing.assert_allclose(found.value, cross, rtol=2e-3)
    own = by_pot(X, A, X, A, epsilon) + by_pot(Y, B, Y, B, epsilon)
    debiased = divergence(cloud(X, A), cloud(Y, B), jnp.float32(epsilon))
    assert debiased.converged
    np.testing.assert_allclose(debiased.value, cross - own / 2, rtol=1e-2)


def test_at_the_goal_the_divergence_rests_and_the_loss_pulls_inwards():
    goal, epsilon = cloud(X, np.ones(30)), jnp.float32(0.5)

    def slope(loss):
        return jax.grad(lambda z: loss(Clouds(z, goal.weight), goal, epsilon).value)(goal.z)

    assert np.abs(slope(divergence)).max() < 1e-3
    inwards = np.sum(np.asarray(slope(sinkhorn_loss)) * (X - X.mean(axis=0)), axis=1)
    assert inwards.mean() > 1e-2


def test_the_gradient_is_that_of_the_converged_loss():
    """The fixed plan of Danskin's theorem against differences of POT's values."""
    epsilon, change = 1.0, np.zeros_like(X)
    change[3, 1] = 1e-3

    def value(z):
        return sinkhorn_loss(Clouds(z, jnp.asarray(A, jnp.float32)), cloud(Y, B), epsilon).value

    found = jax.grad(value)(jnp.asarray(X, jnp.float32))[3, 1]
    ends = [by_pot(X + sign * change, A, Y, B, epsilon) for sign in (1, -1)]
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / 2e-3, rtol=2e-2)
