"""Two halves: disjoint, and weighed by what each shows of the other's potential."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from clouds import observed
from jko import halves, snapshots
from jko.methods import Fit, Problem

TAU = 0.1


def linear(slope):
    """Parameters of V(x) = slope . x, by a network of softplus(z) - softplus(-z) = z."""
    layers = {
        "Dense_0": {"kernel": jnp.stack([slope, -slope], axis=1), "bias": jnp.zeros(2)},
        "Dense_1": {"kernel": jnp.array([[1.0], [-1.0]]), "bias": jnp.zeros(1)},
    }
    units = {
        "center": jnp.zeros(2),
        "width": jnp.float32(1),
        "scale": jnp.float32(1),
        "time_center": jnp.float32(0),
        "time_width": jnp.float32(1),
    }
    return {"nets": {"potential": {"params": layers}}, "units": units}


def drifting(velocity, n=400, steps=3):
    """A cloud that moves by tau times a velocity from snapshot to snapshot, without any noise."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 2))
    clouds = [x + k * TAU * np.asarray(velocity) for k in range(steps)]
    time = np.repeat(TAU * np.arange(steps), n)
    return snapshots.split(np.concatenate(clouds), time, [0, 5], 0.9)


def test_halves_are_disjoint_and_make_up_the_train_rows():
    data = observed()
    parts = halves.halved(data)
    assert len(parts.seed) == 2 * len(data.seed) and len(set(parts.seed)) == len(parts.seed)
    for s in range(len(data.seed)):
        first, second = parts.train[2 * s], parts.train[2 * s + 1]
        assert not (first & second).any()
        np.testing.assert_array_equal(first | second, data.train[s])
        for k in range(len(data.time)):
            sizes = [len(parts.rows(2 * s + half, "train", k)) for half in (0, 1)]
            assert abs(sizes[0] - sizes[1]) <= 1


@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
def test_the_factor_of_linear_potentials_is_its_closed_form(scheme):
    """With V_h = s_h . x, O = sum_h -s_h . (last - first mean) and P = sum_h K tau s_h . (s_A + s_B) / 2."""
    data = drifting([-1.0, 0.5])
    parts = halves.halved(data)
    slopes = np.array([[2.5, -0.6], [2.0, 0.0]], np.float32)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(linear, jnp.asarray(slopes)))
    x = jnp.array([0.3, -2.0])
    np.testing.assert_allclose(
        halves.mean_potential(both, x, jnp.float32(0)), x @ slopes.mean(axis=0), rtol=1e-5
    )
    falls = 0.0
    for half in (0, 1):
        clouds = parts.clouds(1 - half, "train")
        falls -= slopes[half] @ (clouds[-1].mean(axis=0) - clouds[0].mean(axis=0))
    mean = slopes.mean(axis=0)
    expected = falls / (2 * 2 * TAU * mean @ mean)
    assert 0.05 < expected < 0.95
    np.testing.assert_allclose(halves.share(both, parts, 0, scheme), expected, rtol=1e-3)


def test_the_factor_stays_between_zero_and_one():
    parts = halves.halved(drifting([-5.0, 0.0]))

    def factor(slope):
        both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), linear(jnp.array(slope)))
        return halves.share(both, parts, 1, "explicit")

    # Too small a slope would have to grow; one against the motion is not believed; none has no scale.
    assert factor([0.5, 0.0]) == 1 and factor([-5.0, 0.0]) == 0 and factor([0.0, 0.0]) == 0
    assert np.isnan(factor([np.nan, 0.0]))


def test_a_fit_gives_the_weighed_mean_and_names_a_half_that_failed():
    data = drifting([-1.0, 0.0])
    settings = {"terms": ["potential"], "scheme": "explicit"}
    seen = {}

    def learn(problem, settings, report):
        seen["seeds"] = problem.snapshots.seed
        assert problem.coupling.cost.shape == (4, 2)
        stacked = [linear(jnp.array([1.0 + s, 0.0])) for s in range(4)]
        params = jax.tree.map(lambda *leaves: np.stack(leaves), *stacked)
        index = {"seed": np.repeat(problem.snapshots.seed, 2), "epoch": [1, 2] * 4}
        history = pd.DataFrame(index | {"loss": np.arange(8.0)})
        status = ["ok", "ok", "ok", "diverged at step 3"]
        return Fit(params, status, history, {1: params})

    fit = halves.fit(learn, Problem(data), settings, lambda line: None)
    assert fit.status == ["ok", "diverged at step 3"]
    assert fit.history["seed"].tolist() == [0, 0, 5, 5]
    assert fit.history["loss"].tolist() == [1.0, 2.0, 5.0, 6.0]
    assert set(fit.kept) == {1} and fit.params["share"].shape == (2,)
    first = jax.tree.map(lambda leaf: leaf[0], fit.params)
    x, t = jnp.array([2.0, 0.0]), jnp.float32(0)
    expected = first["share"] * 1.5 * 2
    np.testing.assert_allclose(halves.energy(first).potential(x, t), expected, rtol=1e-5)


def test_only_a_potential_can_be_learned_on_halves():
    settings = {"terms": ["potential", "interaction"], "scheme": "explicit"}
    with pytest.raises(ValueError, match=r"halves is for terms \[potential\], not"):
        halves.fit(None, Problem(observed()), settings, print)
