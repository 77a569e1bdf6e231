"""Euler steps against closed forms, and the proximal point by its own condition."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jko import solvers
from jko.energies import Energy, drifts, static
from jko.kernels import KERNELS
from jko.potentials import POTENTIALS

KEY = jax.random.key(0)
T, TAU = jnp.float32(0.5), jnp.float32(0.1)
CLOUD = jnp.asarray(np.random.default_rng(1).normal(size=(40, 2)), jnp.float32)
X = np.asarray(CLOUD)
STIFFNESS = np.array([3.0, 0.5])
# Across a kink there is no gradient to vanish: the minimiser may lie on the kink itself.
SMOOTH = sorted(
    set(POTENTIALS) - {"relu", "holder_table", "cross_in_tray", "rotational", "flowers"}
)


def bowl(x):
    """1/2 x^T A x with A = diag(3, 0.5)."""
    return 0.5 * jnp.sum(jnp.array([3.0, 0.5]) * x**2)


def double_well(x):
    return jnp.sum((x**2 - 1) ** 2)


def test_an_explicit_step_is_the_formula_with_time_interaction_and_no_noise():
    energy = Energy(Partial(lambda x, t: t * bowl(x)), Partial(KERNELS["quadratic"]))
    found = solvers.euler_step(energy, KEY, CLOUD, T, TAU)
    gradient = 0.5 * STIFFNESS * X + (X - X.mean(axis=0))
    np.testing.assert_allclose(found, X - 0.1 * gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
def test_one_step_of_an_ornstein_uhlenbeck_process_has_its_mean_and_variance(scheme):
    """V = a |x|^2 / 2: x' = g x + sqrt(2 tau beta) n, g = 1 - tau a or 1 / (1 + tau a)."""
    a, beta, tau, n = 2.0, 0.7, 0.1, 40_000
    energy = Energy(static(lambda x: 0.5 * a * jnp.sum(x**2)), None, beta)
    start = jnp.full((n, 2), 1.5)
    moved = np.asarray(solvers.step(energy, KEY, start, T, jnp.float32(tau), scheme))
    factor = {"explicit": 1 - tau * a, "implicit": 1 / (1 + tau * a)}[scheme]
    std = np.sqrt(2 * tau * beta)
    np.testing.assert_allclose(moved.mean(axis=0), 1.5 * factor, atol=5 * std / np.sqrt(n))
    np.testing.assert_allclose(moved.std(axis=0), std, rtol=5 / np.sqrt(2 * n))
    assert abs(np.corrcoef(moved.T)[0, 1]) < 5 / np.sqrt(n)


def test_the_flow_tends_to_the_exact_one_and_takes_the_potential_as_time_goes():
    energy = Energy(Partial(lambda x, t: t * bowl(x)))
    found = solvers.step(energy, KEY, CLOUD, T, TAU, "flow")
    # The integral of t over the step is tau (t + tau / 2).
    expected = X * np.exp(-STIFFNESS * 0.1 * (0.5 + 0.05))
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    # Far nearer than one step of the same length.
    one = solvers.step(energy, KEY, CLOUD, T, TAU, "explicit")
    assert np.max(np.abs(found - expected)) < 0.1 * np.max(np.abs(one - expected))


def test_the_noise_of_the_flow_adds_up_to_that_of_one_step():
    n, beta, tau = 40_000, 0.7, 0.1
    energy = Energy(static(lambda x: 0 * jnp.sum(x)), None, beta)
    moved = np.asarray(solvers.step(energy, KEY, jnp.zeros((n, 2)), T, jnp.float32(tau), "flow"))
    np.testing.assert_allclose(moved.std(axis=0), np.sqrt(2 * tau * beta), rtol=5 / np.sqrt(2 * n))
    assert abs(np.corrcoef(moved.T)[0, 1]) < 5 / np.sqrt(n)


@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
def test_without_diffusion_the_key_changes_nothing_and_with_it_everything(scheme):
    still, noisy = Energy(static(bowl)), Energy(static(bowl), None, 0.1)
    first, second = (
        [solvers.step(energy, jax.random.key(k), CLOUD, T, TAU, scheme) for k in (0, 1)]
        for energy in (still, noisy)
    )
    np.testing.assert_array_equal(*first)
    assert not np.any(second[0] == second[1])


@pytest.mark.parametrize("tau", [1e-3, 0.1, 100.0])
def test_the_proximal_point_of_a_quadratic_is_exact(tau):
    found = jax.vmap(lambda x: solvers.proximal_point(bowl, x, jnp.float32(tau)))(CLOUD)
    np.testing.assert_allclose(found, X / (1 + tau * STIFFNESS), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(POTENTIALS))
def test_the_proximal_point_is_downhill_and_stationary(name):
    """The search ends where float32 sees the objective J fall no further: J - min J ~ eps |V|.

    With r = y - x + tau grad V(y) and a curvature h of V that is |r|^2 / (2 tau (1 + tau h)), so
    |r| is bounded by the square root of eps |V|.
    """
    potential, tau = POTENTIALS[name], jnp.float32(0.01)
    start = jnp.asarray(np.random.default_rng(2).uniform(-4, 4, (64, 2)), jnp.float32)

    @jax.jit
    def solve(start):
        def one(x):
            y = solvers.proximal_point(potential, x, tau)
            objective = potential(y) + jnp.sum((y - x) ** 2) / (2 * tau)
            residual = y - x + tau * jax.grad(potential)(y)
            curvature = jnp.linalg.norm(jax.hessian(potential)(y))
            return y, objective, potential(x), jnp.linalg.norm(residual), curvature

        return jax.vmap(one)(start)

    y, objective, before, residual, curvature = map(np.asarray, solve(start))
    rounding = np.finfo(np.float32).eps * (1 + np.abs(before))
    assert np.isfinite(y).all() and (objective <= before + rounding).all()
    if name in SMOOTH:
        assert (residual <= 8 * np.sqrt(tau * (1 + tau * curvature) * rounding)).all()


@pytest.mark.parametrize("tau", [0.05, 0.25, 5.0])
def test_the_proximal_point_of_a_double_well_ends_in_a_valley(tau):
    """At the hilltop the Hessian of the objective is 1/tau - 4: negative from tau = 1/4 on."""
    start = jnp.array([[1e-3, -1e-3], [0.5, -0.2], [2.0, -3.0], [1.0, -1.0], [-0.1, 0.9]])
    end = jax.vmap(lambda x: solvers.proximal_point(double_well, x, jnp.float32(tau)))(start)
    slope = np.asarray(end - start + tau * jax.vmap(jax.grad(double_well))(end))
    curvature = 1 + tau * (12 * np.asarray(end) ** 2 - 4)
    np.testing.assert_allclose(slope, 0, atol=1e-4 * (1 + tau))
    assert (curvature > 0).all()
    # The valley on the own side: no particle changes the well it stands in.
    np.testing.assert_array_equal(np.sign(end), np.sign(start))


@pytest.mark.parametrize("d", [3, 12])
@pytest.mark.parametrize("lowest", [2.0, 0.3, -1.5, np.nan])
def test_an_absolute_value_solves_alike_alone_and_among_others(lowest, d):
    """Of five matrices one has ``lowest`` among its eigenvalues, all others lie above the floor, 0.5."""
    rng, floor = np.random.default_rng(3), 0.5
    values = rng.uniform(1, 3, size=(5, d))
    values[2, 1] = lowest
    turns = np.linalg.qr(rng.normal(size=(5, d, d)))[0]
    matrices = turns * values[:, None] @ turns.transpose(0, 2, 1)
    vectors = rng.normal(size=(5, d))
    sizes = np.maximum(np.abs(values), floor)
    expected = (turns / sizes[:, None] @ turns.transpose(0, 2, 1) @ vectors[:, :, None])[..., 0]
    matrices, vectors = (jnp.asarray(a, jnp.float32) for a in (matrices, vectors))
    agrees = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    solve, floors = solvers.absolute_solve, jnp.full(5, floor)
    agrees(jax.vmap(solve, in_axes=(0, 0, None))(matrices, vectors, floor), expected)
    agrees(jax.vmap(solve)(matrices, vectors, floors), expected)
    agrees(jax.vmap(jax.vmap(solve))(matrices[None], vectors[None], floors[None])[0], expected)
    agrees(solve(matrices[2], vectors[2], floors[2]), expected[2])
    same = jax.vmap(solve, in_axes=(None, 0, 0))(matrices[2], vectors, floors)
    agrees(same[2], expected[2])


def test_a_start_that_is_not_finite_stays_so_and_ends():
    start = jnp.array([jnp.nan, 1.0])
    end = solvers.proximal_point(double_well, start, TAU)
    assert np.isnan(end).any()


def test_an_implicit_step_takes_the_potential_at_its_end():
    energy = Energy(Partial(lambda x, t: 0.5 * t * jnp.sum(x**2)))
    moved = solvers.implicit_euler_step(energy, KEY, CLOUD, T, TAU)
    np.testing.assert_allclose(moved, X / (1 + 0.1 * 0.6), rtol=1e-5)
    explicit = solvers.euler_step(energy, KEY, CLOUD, T, TAU)
    np.testing.assert_allclose(explicit, X * (1 - 0.1 * 0.5), rtol=1e-5)


def bowl_and_attraction(scale: float) -> Energy:
    """V = scale bowl, W = |z|^2 / 2: one compiled step serves every scale."""
    potential = Partial(lambda scale, x, t: scale * bowl(x), jnp.float32(scale))
    return Energy(potential, Partial(KERNELS["quadratic"]))


@pytest.mark.parametrize("tau", [0.5, 1.0, 20.0])
def test_an_implicit_step_of_mutual_attraction_keeps_the_mean_and_contracts(tau):
    """W = |z|^2 / 2: y - m = (x - m) / (1 + tau) with m the mean of the population."""
    cloud = X + 3
    moved = solvers.step(
        bowl_and_attraction(0), KEY, jnp.asarray(cloud), T, jnp.float32(tau), "implicit"
    )
    mean = cloud.mean(axis=0)
    # The descent ends at a ten-thousandth of the way.
    atol = 1e-4 * np.max(np.abs(moved - cloud))
    np.testing.assert_allclose(moved, mean + (cloud - mean) / (1 + tau), rtol=1e-4, atol=atol)


def test_a_step_without_a_minimum_is_no_prediction():
    """W = -|z|^2: from tau = 1/2 on the energy falls without end, and what stays in its place is a maximum."""
    repulsion = bowl_and_attraction(0)._replace(interaction=Partial(lambda z: -jnp.sum(z**2)))
    moved = solvers.step(repulsion, KEY, CLOUD, T, jnp.float32(2.0), "implicit")
    assert np.isnan(moved).all()
    near = solvers.step(repulsion, KEY, CLOUD, T, jnp.float32(0.1), "implicit")
    mean = X.mean(axis=0)
    np.testing.assert_allclose(near, mean + (X - mean) / 0.8, rtol=1e-4, atol=1e-4)


def test_a_step_ends_where_the_force_is_not_exact_enough_to_settle_further():
    """A ripple of W that no step sees moves the force by some thousandths of the way."""

    def rippled(z):
        return jnp.sum(z**2) / 2 + 0.05 / 1e5 * jnp.sum(jnp.sin(1e5 * z))

    energy = bowl_and_attraction(0)._replace(interaction=Partial(rippled))
    few, many = (
        solvers.implicit_euler_step(energy, KEY, CLOUD, T, TAU, steps=steps) for steps in (25, 50)
    )
    np.testing.assert_array_equal(few, many)
    mean = X.mean(axis=0)
    np.testing.assert_allclose(many, mean + (X - mean) / (1 + float(TAU)), atol=5e-3)


@pytest.mark.parametrize(
    ("height", "depth", "tau"),
    [(0.0, 3.0, 1.0), (0.0, 10.0, 1.0), (1.0, 0.5, 1.0), (1.0, 1.0, 5.0)],
)
def test_strong_attraction_and_two_wells_leave_a_population_that_satisfies_its_own_condition(
    height, depth, tau
):
    """V = height sum_i (x_i^2 - 1)^2 and W = -depth exp(-|z|^2), steep enough that the implicit condition has several solutions."""
    energy = Energy(
        Partial(lambda x, t: height * jnp.sum((x**2 - 1) ** 2)),
        Partial(lambda z: -depth * jnp.exp(-jnp.sum(z**2))),
    )
    y = solvers.step(energy, KEY, CLOUD, T, jnp.float32(tau), "implicit")
    left = CLOUD + jnp.float32(tau) * drifts(energy, y, T) - y
    assert np.max(np.abs(left)) < 2e-3 * np.max(np.abs(y - CLOUD))


def test_a_population_comes_to_rest_step_by_step():
    """W = |z|^2 / 2: after a hundred steps it stands on its mean, to rounding, and stays there."""
    cloud = CLOUD + 3
    for _ in range(100):
        cloud = solvers.step(bowl_and_attraction(0), KEY, cloud, T, jnp.float32(0.5), "implicit")
    np.testing.assert_allclose(cloud, np.broadcast_to(X.mean(axis=0) + 3, X.shape), atol=1e-4)


def test_an_implicit_step_with_potential_and_attraction_satisfies_its_own_condition():
    y = np.asarray(solvers.step(bowl_and_attraction(1), KEY, CLOUD, T, TAU, "implicit"))
    np.testing.assert_allclose(y, X - 0.1 * (STIFFNESS * y + (y - y.mean(axis=0))), atol=1e-5)


def test_both_schemes_agree_as_the_step_shrinks():
    """They differ by tau^2 per step: a step ten times shorter brings them 100 times closer."""
    energy = Energy(static(POTENTIALS["wavy_plateau"]))
    gap = {}
    for tau in (1e-2, 1e-3):
        steps = [
            solvers.step(energy, KEY, CLOUD, T, jnp.float32(tau), name) for name in solvers.STEPS
        ]
        gap[tau] = np.sqrt(np.mean((np.asarray(steps[0]) - np.asarray(steps[1])) ** 2))
    assert 50 < gap[1e-2] / gap[1e-3] < 200
