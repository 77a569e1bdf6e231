"""Couplings against brute force, linear programming and each other; marginals; errors in words."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import ot
import pytest
import scipy.optimize

from clouds import observed, poisoned
from jko import couplings

rng = np.random.default_rng(0)
X6, Y6 = rng.normal(size=(6, 2)), rng.normal(size=(6, 2)) + 1
X40, Y40, Y25 = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)) + 1, rng.normal(size=(25, 3))


def marginals(plan: couplings.Coupling, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    return np.bincount(plan.i, plan.weight, n), np.bincount(plan.j, plan.weight, m)


def dense(plan: couplings.Coupling, n: int, m: int) -> np.ndarray:
    matrix = np.zeros((n, m))
    np.add.at(matrix, (plan.i, plan.j), plan.weight)
    return matrix


def test_squared_distances_are_those_of_two_loops():
    found = couplings.squared_distances(X6 + 1e6, Y6 + 1e6)
    loops = [[np.sum((x - y) ** 2) for y in Y6] for x in X6]
    np.testing.assert_allclose(found, loops, rtol=1e-8)


def test_the_exact_plan_is_the_best_permutation():
    cost = couplings.squared_distances(X6, Y6)
    best = min(permutations(range(6)), key=lambda p: sum(cost[i, p[i]] for i in range(6)))
    plan = couplings.exact(X6, Y6)
    assert plan.i.tolist() == list(range(6)) and tuple(plan.j.tolist()) == best
    np.testing.assert_allclose(plan.cost, np.mean([cost[i, best[i]] for i in range(6)]))


def test_assignment_and_network_simplex_agree_on_equal_sizes():
    plan = couplings.exact(X40, Y40)
    cost = couplings.squared_distances(X40, Y40)
    simplex = couplings.network_simplex(cost)
    np.testing.assert_allclose(dense(plan, 40, 40), simplex.toarray(), atol=1e-15)
    uniform = np.full(40, 1 / 40)
    np.testing.assert_allclose(plan.cost, ot.emd2(uniform, uniform, cost), rtol=1e-12)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("n", "m", "shift"), [(620, 530, 0.0), (620, 530, 3.0), (2100, 2100, 1.0)])
def test_many_particles_have_the_plan_of_pot(n, m, shift, power):
    draw = np.random.default_rng(8)
    x, y = draw.normal(size=(n, 3)), draw.normal(size=(m, 3)) + shift
    cost = couplings.squared_distances(x, y) ** (power / 2)
    uniform = np.full(n, 1 / n), np.full(m, 1 / m)
    plan = ot.emd(*uniform, cost, numItermax=10_000_000)
    np.testing.assert_allclose(couplings.network_simplex(cost).toarray(), plan, atol=1e-15)


def heaps(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The particles of the thinned clouds in one place and all others in another; the other way round in the second cloud."""
    draw = np.random.default_rng(9)
    thinned = (np.arange(n) % couplings._THINNING == 0)[:, None]
    return draw.normal(size=(n, 2)) + 9 * ~thinned, draw.normal(size=(n, 2)) + 9 * thinned


@pytest.mark.parametrize("unit", [1.0, 1e-7])
def test_clouds_that_mislead_when_thinned_have_the_plan_of_the_assignment(unit):
    # Hardly a pair of the plan is among the first: without the plan that couples particles in their order there is none.
    x, y = (unit * cloud for cloud in heaps(600))
    plan = couplings.exact(x, y)
    i, j = scipy.optimize.linear_sum_assignment(couplings.squared_distances(x, y))
    assert plan.i.tolist() == i.tolist() and plan.j.tolist() == j.tolist()
    np.testing.assert_allclose(plan.weight, 1 / 600, rtol=1e-12)


def test_more_costs_than_fit_into_memory_are_refused(monkeypatch):
    monkeypatch.setattr(couplings, "_MOST_COSTS", 100)
    assert len(couplings.exact(X6, Y6).i) == 6
    with pytest.raises(ValueError, match="10 x 10 particles needs 1e.02 costs or more.*minibatch"):
        couplings.exact(X40[:10], Y40[:10])


def test_many_particles_on_a_line_have_the_monotone_plan():
    draw = np.random.default_rng(11)
    x, y = draw.normal(size=(900, 1)), draw.normal(size=(900, 1)) + 1
    cost = np.abs(x - y.T)
    found = couplings.network_simplex(cost)
    np.testing.assert_allclose(
        found.data @ cost[found.row, found.col],
        np.mean(np.abs(np.sort(x[:, 0]) - np.sort(y[:, 0]))),
        rtol=1e-12,
    )


def test_many_particles_that_stay_are_coupled_with_themselves():
    x = np.random.default_rng(10).normal(size=(700, 2))
    plan = couplings.exact(x, x)
    assert plan.i.tolist() == plan.j.tolist() == list(range(700)) and plan.cost == 0


def test_many_particles_in_one_place_have_a_plan():
    plan = couplings.exact(np.zeros((600, 2)), np.zeros((510, 2)))
    assert plan.cost == 0
    for found, size in zip(marginals(plan, 600, 510), (600, 510), strict=True):
        np.testing.assert_allclose(found, 1 / size, rtol=1e-9)


@pytest.mark.parametrize(("n", "m"), [(4, 6), (7, 3), (5, 1)])
def test_the_exact_plan_of_unequal_sizes_solves_the_linear_programme(n, m):
    x, y = X40[:n], Y25[:m]
    cost = couplings.squared_distances(x, y)
    constraints = np.concatenate([np.kron(np.eye(n), np.ones(m)), np.tile(np.eye(m), n)])
    uniform = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    programme = scipy.optimize.linprog(cost.ravel(), A_eq=constraints, b_eq=uniform)
    plan = couplings.exact(x, y)
    np.testing.assert_allclose(plan.cost, programme.fun, rtol=1e-9)
    assert (plan.weight > 0).all() and len(plan.weight) <= n + m - 1
    for found, size in zip(marginals(plan, n, m), (n, m), strict=True):
        np.testing.assert_allclose(found, 1 / size, rtol=1e-12)


def test_the_plan_of_a_gradient_of_a_convex_function_follows_it():
    """Brenier: y = A x + b with A positive definite is optimal, whatever the order of the rows."""
    matrix, order = np.array([[2.0, 0.5, 0], [0.5, 1.0, 0], [0, 0, 0.3]]), rng.permutation(40)
    plan = couplings.exact(X40, (X40 @ matrix + 1)[order])
    np.testing.assert_array_equal(order[plan.j], plan.i)


def test_sinkhorn_tends_to_the_exact_plan():
    exact = couplings.exact(X6, Y6)
    errors = []
    for epsilon in (1.0, 0.2, 0.05):
        plan = couplings.sinkhorn(X6, Y6, epsilon=epsilon, dropped_mass=0)
        assert plan.cost > exact.cost
        errors.append(np.abs(dense(plan, 6, 6) - dense(exact, 6, 6)).sum())
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.12


def test_sinkhorn_is_that_of_pot():
    plan = couplings.sinkhorn(X40, Y25, epsilon=0.5, threshold=1e-8, dropped_mass=0)
    cost = couplings.squared_distances(X40, Y25)
    other = ot.sinkhorn(np.full(40, 1 / 40), np.full(25, 1 / 25), cost, 0.5, stopThr=1e-10)
    np.testing.assert_allclose(dense(plan, 40, 25), other, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("dropped", [0.0, 1e-4, 0.05])
def test_sinkhorn_drops_the_smallest_entries_and_no_more_mass_than_asked(dropped):
    whole = couplings.sinkhorn(X40, Y25, epsilon=0.05, threshold=1e-6, dropped_mass=0)
    plan = couplings.sinkhorn(X40, Y25, epsilon=0.05, threshold=1e-6, dropped_mass=dropped)
    missing = dense(whole, 40, 25)[dense(plan, 40, 25) == 0]
    assert missing.sum() <= dropped and (plan.weight > 0).all()
    kept = dense(whole, 40, 25)[plan.i, plan.j]
    # One entry more would be too much; all that is kept is no smaller than what is dropped.
    assert missing.sum() + kept.min() > dropped
    assert kept.min() >= missing.max(initial=0)
    np.testing.assert_allclose(plan.weight.sum(), 1)
    np.testing.assert_allclose(plan.weight, kept / kept.sum(), rtol=1e-9)
    for found, size in zip(marginals(plan, 40, 25), (40, 25), strict=True):
        assert np.abs(found - 1 / size).sum() <= 2 * dropped + 1e-5


def test_an_unconverged_sinkhorn_says_what_to_change():
    message = r"40 x 25 particles did not converge: .* after 20 iterations, 0\.001 is asked; raise"
    with pytest.raises(RuntimeError, match=message):
        couplings.sinkhorn(X40, Y25, epsilon=1e-3, max_iterations=20)


@pytest.mark.parametrize(("n", "m", "batch"), [(40, 40, 10), (40, 25, 13), (40, 25, 100)])
def test_minibatches_have_the_marginals_of_their_blocks_and_cost_more(n, m, batch):
    x, y = X40[:n], (Y40 if m == 40 else Y25)[:m]
    plan = couplings.minibatch(x, y, batch=batch, rounds=3, rng=np.random.default_rng(3))
    blocks = -(-max(n, m) // batch)
    np.testing.assert_allclose(plan.weight.sum(), 1)
    for found, size in zip(marginals(plan, n, m), (n, m), strict=True):
        smallest, largest = size // blocks, -(-size // blocks)
        assert (found >= 1 / (blocks * largest) - 1e-12).all()
        assert (found <= 1 / (blocks * smallest) + 1e-12).all()
    exact = couplings.exact(x, y)
    matrix = dense(plan, n, m)
    np.testing.assert_allclose(plan.cost, np.sum(matrix * couplings.squared_distances(x, y)))
    if blocks == 1:
        np.testing.assert_allclose(plan.cost, exact.cost)
    else:
        assert plan.cost > exact.cost


def test_minibatches_smaller_than_the_blocks_are_refused():
    with pytest.raises(
        ValueError, match="minibatch of 10: 4 blocks, but a cloud has only 3 particles"
    ):
        couplings.minibatch(X40, X40[:3], batch=10, rounds=1, rng=np.random.default_rng(0))


def test_a_kind_that_does_not_exist_is_named():
    with pytest.raises(
        ValueError, match="coupling kind is 'greedy'; it must be exact, sinkhorn or minibatch"
    ):
        couplings.couple(X6, Y6, {"kind": "greedy"}, np.random.default_rng(0))


SETTINGS = [
    {"kind": "exact"},
    {"kind": "sinkhorn", "epsilon": 0.5},
    {"kind": "minibatch", "batch": 8, "rounds": 2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings["kind"])
def test_neighbouring_train_snapshots_are_coupled_and_nothing_else(tmp_path, settings):
    data, lines = observed(), []
    rows = couplings.couple_snapshots(data, settings, lines.append)
    assert len(lines) == 4 and lines[1].startswith("seed 0 interval 1: ")
    for s, k in np.ndindex(2, 2):
        here = (rows.s == s) & (rows.k == k)
        assert set(rows.i[here]) == set(data.rows(s, "train", k))
        assert set(rows.j[here]) == set(data.rows(s, "train", k + 1))
        np.testing.assert_allclose(rows.weight[here].sum(), 1)
        squares = np.sum((data.x[rows.i[here]] - data.x[rows.j[here]]) ** 2, axis=1)
        np.testing.assert_allclose(rows.cost[s, k], rows.weight[here] @ squares)
    couplings.save(rows, tmp_path / "coupling.npz")
    for before, after in zip(rows, couplings.load(tmp_path / "coupling.npz"), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings["kind"])
def test_test_rows_change_no_coupling(settings):
    data = observed(seeds=(0,))
    rows = couplings.couple_snapshots(data, settings, lambda line: None)
    again = couplings.couple_snapshots(poisoned(data), settings, lambda line: None)
    for before, after in zip(rows, again, strict=True):
        np.testing.assert_array_equal(before, after)
