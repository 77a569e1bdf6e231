"""Clouds side by side: which rows they hold, with which weight, and the units they are measured in."""

from __future__ import annotations

import numpy as np
import pytest

from clouds import observed
from jko import batches


def test_every_particle_has_the_same_weight_in_its_snapshot():
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(n, 2)) for n in (5, 3)]
    z, weight = batches.side_by_side(clouds, 6, np.random.default_rng(1))
    assert z.shape == (6, 2, 2) and weight.shape == (6, 2)
    for k, cloud in enumerate(clouds):
        for particle in cloud:
            mine = (z[:, k] == particle).all(axis=1)
            np.testing.assert_allclose(weight[mine, k].sum(), 1)


def test_the_rows_are_whole_batches_for_the_largest_snapshot_of_any_seed():
    data = observed(sizes=(30, 24, 36), seeds=(0, 1))
    largest = max(len(data.cloud(s, "train", k)) for s in (0, 1) for k in range(3))
    assert batches.rows_of(data, 10) == -(-largest // 10) * 10
    assert batches.rows_of(data, 1) == largest


def test_the_speed_is_that_of_the_bures_distance():
    """A shift by (0.3, 0) in 0.5 has the Bures distance 0.3: 0.6 / sqrt(2) a coordinate."""
    x = np.random.default_rng(0).normal(size=(50, 2))
    clouds, time = [x, x + [0.3, 0]], np.array([1.0, 1.5])
    units = batches.units_of(clouds, time, np.diff(time))
    points = np.concatenate(clouds)
    np.testing.assert_allclose(units["center"], points.mean(axis=0))
    np.testing.assert_allclose(units["width"] ** 2, points.var(axis=0).mean())
    np.testing.assert_allclose(units["scale"], units["width"] * 0.6 / np.sqrt(2), rtol=1e-5)
    assert (units["time_center"], units["time_width"]) == (1.25, 0.25)


@pytest.mark.parametrize("d, width", [(2, 1), (2, 100), (50, 1), (50, 100)])
def test_a_population_that_rests_has_a_width_per_step_and_one_without_extent_none(d, width):
    """Rounding makes some Bures distance of a cloud from itself, as at d = 50."""
    x = width * np.random.default_rng(0).uniform(-4, 4, size=(1000, d)).astype(np.float32)
    units = batches.units_of([x, x], np.array([0.0, 2.0]), np.array([2.0]))
    np.testing.assert_allclose(units["scale"], units["width"] ** 2 / 2, rtol=1e-6)
    point = np.ones((4, 2))
    with pytest.raises(ValueError, match="all train particles stand on one point"):
        batches.units_of([point, point], np.array([0.0, 1.0]), np.array([1.0]))
