"""What pairs and means say of test functions, against sums over particles and the second order of a loss of first order."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jko import couplings, readings, simulation
from jko.energies import Energy, static

CENTERS = np.array([[0.0, 0.5], [-1.0, 0.2], [0.8, -0.9]])
WIDTH = 0.7


def bump(x):
    return np.exp(-np.sum((x[:, None] - CENTERS) ** 2, axis=2) / (2 * WIDTH**2))  # (n, c)


def slope(x):
    return -(x[:, None] - CENTERS) / WIDTH**2 * bump(x)[:, :, None]  # (n, c, d)


def clouds(n=200, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n + 10 * k, 2)) for k in range(3)]


def every(x, y):
    """All pairs of two clouds, which is a coupling too."""
    i, j = np.divmod(np.arange(len(x) * len(y)), len(y))
    return x[i], y[j], np.full(len(i), 1 / len(i))


def test_each_reading_is_its_sum_over_particles_and_pairs():
    snapshots, steps = clouds(), [0.1 * cloud for cloud in clouds()[:-1]]
    pairs = [every(*both) for both in zip(snapshots[:-1], snapshots[1:], strict=True)]
    change = sum((bump(c + m) - bump(c)).mean(0) for c, m in zip(snapshots, steps, strict=False))
    first = sum(np.einsum("nd,ncd->c", m, slope(m / 0.1)) / len(m) for m in steps)
    scale = np.sqrt(sum(bump(snapshots[k]).var(0) / len(snapshots[k]) for k in (0, 2)))
    wanted = [
        bump(snapshots[2]).mean(0) - bump(snapshots[0]).mean(0) - change,
        sum(np.einsum("p,pd,pcd->c", w, y - x, slope(x)) for x, y, w in pairs) - first,
        sum(np.einsum("p,pd,pcd->c", w, y - x, slope(y)) for x, y, w in pairs) - first,
    ]
    found = readings.errors(snapshots, pairs, steps, CENTERS, WIDTH)
    assert len(found) == len(readings.READINGS)
    for value, error in zip(found, wanted, strict=True):
        assert value == pytest.approx(np.sqrt(np.mean((error / scale) ** 2)), rel=1e-8)


def test_pairs_of_the_particles_themselves_say_the_truth_at_x():
    first = clouds()[0]
    steps = [0.1 * first, 0.1 * 1.1 * first]
    snapshots = [first, 1.1 * first, 1.21 * first]
    weight = np.full(len(first), 1 / len(first))
    pairs = [(snapshots[k], snapshots[k + 1], weight) for k in range(2)]
    means, at_x, at_y = readings.errors(snapshots, pairs, steps, CENTERS, WIDTH)
    assert means < 1e-12 and at_x < 1e-12 < at_y


@pytest.mark.parametrize("noise", [0.02, 0.04])
def test_noise_of_pairs_is_read_as_half_the_laplacian_times_its_square(noise):
    """Nothing moves on the whole: y is x and normal noise, x again, so that only the pairs move."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200_000, 2))
    y = x + noise * rng.normal(size=x.shape)
    weight = np.full(len(x), 1 / len(x))
    still = [np.zeros_like(x)]
    _, _, at_y = readings.errors([x, x], [(x, y, weight)], still, CENTERS, WIDTH)
    square = np.sum((x[:, None] - CENTERS) ** 2, axis=2)
    laplacian = ((square / WIDTH**2 - 2) / WIDTH**2 * bump(x)).mean(0)
    # grad psi(y) . (y - x) = grad psi(x) . (y - x) + (y - x)^T hess psi (y - x): noise^2 laplacian psi in the mean.
    wanted = noise**2 * laplacian / np.sqrt(2 * bump(x).var(0) / len(x))
    assert at_y == pytest.approx(np.sqrt(np.mean(wanted**2)), rel=0.35)


def test_pairs_and_steps_are_those_of_the_train_particles_of_a_seed():
    settings = {
        "potential": "sphere",
        "interaction": None,
        "beta": 0.0,
        "dimension": 2,
        "n_train": 30,
        "n_test": 10,
        "steps": 2,
        "substeps": 1,
        "tau": 0.01,
        "pairing": "paired",
        "initial": {"law": "uniform", "low": -4.0, "high": 4.0},
        "seeds": [0, 1],
    }
    data = simulation.simulate_snapshots(settings)
    rows = couplings.couple_snapshots(data, {"kind": "exact"}, lambda line: None)
    energy = Energy(static(lambda x: -10 * jnp.sum(x**2)))
    for s in range(2):
        pairs, steps = readings.pairs_of(rows, data, s), readings.euler_steps(energy, data, s)
        assert len(pairs) == len(steps) == 2
        for k, ((x, y, weight), step) in enumerate(zip(pairs, steps, strict=True)):
            here, there = data.cloud(s, "train", k), data.cloud(s, "train", k + 1)
            assert weight.sum() == pytest.approx(1)
            assert {*map(tuple, x)} == {*map(tuple, here)} and {*map(tuple, y)} == {
                *map(tuple, there)
            }
            # V = -10 |x|^2, and the snapshots are paired row by row.
            np.testing.assert_allclose(step, 0.2 * here, rtol=1e-5)
            np.testing.assert_allclose(here + step, there, rtol=1e-4, atol=1e-5)
