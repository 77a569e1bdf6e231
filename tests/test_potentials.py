from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko import metrics, potentials
from jko.energies import Energy, static
from jko.potentials import PAPER_LANDSCAPES, POTENTIALS

ANY_DIMENSION = {
    "styblinski_tang", "oakley_ohagan", "sphere", "double_exponential", "relu", "flat", "flowers",
    "wavy_plateau", "cell_ring",
}  # fmt: skip
# Where a landscape is not smooth: central differences say nothing there.
KINKS = {
    "holder_table": lambda v: [np.sin(v[: len(v) // 2].mean()), np.cos(v[len(v) // 2 :].mean())],
    "cross_in_tray": lambda v: [np.sin(v[: len(v) // 2].mean()), np.sin(v[len(v) // 2 :].mean())],
    "relu": lambda v: v,
    "flowers": lambda v: v,
}

every_potential = pytest.mark.parametrize("name", sorted(POTENTIALS))


def gradients(name: str, points: np.ndarray) -> np.ndarray:
    """(n, d) gradients at the points (n, d), in their dtype."""
    return np.asarray(jax.jit(jax.vmap(jax.grad(POTENTIALS[name])))(jnp.asarray(points)))


def value(name: str, v: list[float]) -> float:
    """V(v) in float64."""
    with jax.enable_x64(True):
        return float(POTENTIALS[name](jnp.array(v, jnp.float64)))


def test_the_papers_name_eighteen_landscapes():
    assert len(PAPER_LANDSCAPES) == 18
    assert PAPER_LANDSCAPES[0] == "styblinski_tang" and PAPER_LANDSCAPES[-1] == "zigzag_ridge"
    assert "cell_ring" in POTENTIALS and "cell_ring" not in PAPER_LANDSCAPES


@every_potential
@pytest.mark.parametrize("double", [False, True])
def test_value_and_gradient_keep_the_dtype(name, double):
    with jax.enable_x64(double):
        v = jax.ShapeDtypeStruct((3,), jnp.float64 if double else jnp.float32)
        result, gradient = jax.eval_shape(jax.value_and_grad(POTENTIALS[name]), v)
        assert result.shape == () and result.dtype == v.dtype
        assert gradient.shape == v.shape and gradient.dtype == v.dtype


@every_potential
@pytest.mark.parametrize("d", [1, 2, 3, 10, 50])
def test_gradients_are_finite_on_random_points_and_at_the_origin(name, d):
    if d == 1 and name not in ANY_DIMENSION:
        with pytest.raises(ValueError, match="dimension 1 is too small"):
            POTENTIALS[name](jnp.zeros(1))
        return
    points = np.random.default_rng(d).uniform(-8, 8, (500, d)).astype(np.float32)
    special = np.array([np.zeros(d), np.full(d, -5), np.full(d, np.pi)], np.float32)
    assert np.isfinite(gradients(name, np.concatenate([points, special]))).all()


@every_potential
def test_gradients_are_finite_on_a_grid_with_every_kink(name):
    # Integers hit the origin, the axes and (-5, -5); multiples of pi/2 the zeros of sin and cos.
    ticks = np.concatenate([np.arange(-8, 9), np.pi / 2 * np.arange(-4, 5)]).astype(np.float32)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    both = jax.jit(jax.vmap(jax.value_and_grad(POTENTIALS[name])))
    values, slopes = both(jnp.asarray(grid))
    assert np.isfinite(values).all() and np.isfinite(slopes).all()


@every_potential
def test_second_derivatives_at_the_origin_are_finite(name):
    # An interaction pairs every particle with itself, at z = 0; Newton's method
    # needs curvature there.
    assert np.isfinite(jax.jit(jax.hessian(POTENTIALS[name]))(jnp.zeros(4))).all()


@every_potential
@pytest.mark.parametrize("d", [2, 5])
def test_autodiff_agrees_with_central_differences(name, d):
    points = np.random.default_rng(7).uniform(-4, 4, (40, d))
    far = [np.min(np.abs(KINKS[name](v))) > 1e-3 if name in KINKS else True for v in points]
    points = points[np.array(far)]
    h = 1e-6
    shifts = h * np.concatenate([np.eye(d), -np.eye(d)])  # (2 d, d)
    shifted = points[:, None, :] + shifts[None, :, :]  # (n, 2 d, d)
    with jax.enable_x64(True):
        values = np.asarray(jax.jit(jax.vmap(jax.vmap(POTENTIALS[name])))(jnp.asarray(shifted)))
        exact = gradients(name, points)
    numeric = (values[:, :d] - values[:, d:]) / (2 * h)
    assert len(points) > 30
    np.testing.assert_allclose(exact, numeric, rtol=1e-4, atol=1e-5 * (1 + np.abs(exact).max()))


@pytest.mark.parametrize(
    ("name", "v", "expected"),
    [
        # The known minimum of each function, where it has one in closed form or in the literature.
        ("styblinski_tang", [-2.903534, -2.903534, -2.903534], -39.16616570 * 3),
        ("holder_table", [np.pi / 2, 0.0], 10 * np.exp(0.5)),
        ("holder_table", [0.0, 0.0], 0.0),
        ("cross_in_tray", [0.0, 0.0], -2.0),
        ("cross_in_tray", [np.pi / 2, np.pi / 2], -2 * (np.exp(10 - 2**-0.5) + 1) ** 0.1),
        ("oakley_ohagan", [0.0, 0.0, 0.0], 15.0),
        ("oakley_ohagan", [np.pi, 0.0], 5 * (-1 + np.pi**2 + np.pi + 1)),
        ("ishigami", [np.pi / 2, np.pi / 2], 1 + 7 + 0.1 * (np.pi / 2) ** 4),
        ("friedman", [7.0, 7.0], (20 / 4 + 10) / 100),
        ("friedman", [8.0, 7.0], (20 / 4 + 10) / 100),
        (
            "friedman",
            [7.5, 7 + np.pi / 2],
            (10 * np.sin(np.pi**2 / 2) + 20 / 4 + 10 + 0.05 * np.pi * np.sin(1)) / 100,
        ),
        ("sphere", [1.0, 2.0, 3.0], -140.0),
        ("bohachevsky", [0.0, 0.0], -7.0),
        ("bohachevsky", [1.0, 0.5], 10 * (1 + 0.5 + 0.3 - 0.4)),
        ("three_hump_camel", [1.0, 2.0], 2 - 1.05 + 1 / 6 + 2 + 4),
        ("beale", [3.0, 0.5], 0.0),
        ("beale", [1.0, 2.0], (2.5**2 + 5.25**2 + 9.625**2) / 100),
        ("double_exponential", [3.0, 3.0], 200 * (1 + np.exp(-72 / 20))),
        ("relu", [1.0, -2.0, 3.0], -200.0),
        ("rotational", [0.0, 0.0], 10 * (np.pi / 4 + np.pi)),
        ("rotational", [-5.0, -6.0], 10 * (np.pi / 2)),
        ("flat", [1.0, 2.0], 0.0),
        ("flowers", [1.0, -1.0], 4 * np.sin(1)),
        ("flowers", [0.0, 2.0], 2 + 2 * np.sin(2**1.2)),
        ("watershed", [1.0, 2.0, 3.0], (1 + 6 + 2 + 4 * 7) / 10),
        ("wavy_plateau", [1.0, 2.0], (-1 + 0.5 - 3 + 1) + (1 + 8 - 12 + 1)),
        ("zigzag_ridge", [np.pi, 1.0], (np.pi - 1) ** 2 - (np.pi + 1) + np.pi**2),
        ("zigzag_ridge", [0.0, 2.0, 1.0], (4 + 2) + (1 + 3 * np.cos(2) + 4)),
        ("cell_ring", [0.0, 2.0], 0.0),
        ("cell_ring", [3.0, 0.0], 2.5),
    ],
)
def test_closed_form_values(name, v, expected):
    assert value(name, v) == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_every_landscape_has_a_closed_form_value():
    cases = next(m for m in test_closed_form_values.pytestmark if m.name == "parametrize").args[1]
    assert {case[0] for case in cases} == set(POTENTIALS)


@pytest.mark.parametrize(
    "name", ["styblinski_tang", "oakley_ohagan", "sphere", "double_exponential", "flowers"]
)
def test_sums_over_coordinates_do_not_see_their_order(name):
    assert value(name, [0.4, -1.0, 2.0]) == pytest.approx(value(name, [2.0, 0.4, -1.0]))


@pytest.mark.parametrize("name", ["sphere", "double_exponential", "holder_table", "cross_in_tray"])
def test_even_landscapes(name):
    v = [0.4, -1.0, 2.0]
    assert value(name, v) == pytest.approx(value(name, [-x for x in v]))


@pytest.mark.parametrize("name", ["sphere", "cell_ring"])
def test_radial_landscapes(name):
    assert value(name, [3.0, 4.0]) == pytest.approx(value(name, [0.0, 5.0]))


def test_a_landscape_of_the_halves_sees_only_their_means():
    # In odd dimension the first half is the smaller one: v_1, v_2 against v_3, v_4, v_5.
    two = value("beale", [0.5, -1.0])
    assert value("beale", [0.2, 0.8, -3.0, 1.0, -1.0]) == pytest.approx(two)
    assert value("beale", [0.2, 0.8, 0.5, -3.0, -1.0]) != pytest.approx(two)


def test_what_the_wave_of_friedman_is_worth():
    def smooth(v):
        a, b = v - 7
        rings = 20 * (2 * a * jnp.sin(b) - 0.5) ** 2 + 10 * (2 * a * jnp.cos(b) - 1) ** 2
        return (rings + 0.1 * b * jnp.sin(2 * a)) / 100

    tau, start = 0.01, np.random.default_rng(0).uniform(-4, 4, (20_000, 2)).astype(np.float32)
    after = start - tau * gradients("friedman", start)
    without, whole = Energy(static(smooth)), Energy(static(POTENTIALS["friedman"]))
    error = metrics.l2_uvps(without, whole, start, after, 0.0, tau)["l2_uvp"]
    np.testing.assert_allclose(error, 0.020, rtol=0.05)


def test_cross_in_tray_survives_where_its_exponential_does_not():
    v = jnp.array([240.5, 230.7], jnp.float32)  # |v| / pi - 10 = 96, above log(float32 max)
    result, gradient = jax.value_and_grad(POTENTIALS["cross_in_tray"])(v)
    assert np.isfinite(result) and np.isfinite(gradient).all()


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="'moon'.*registered: .*ishigami"):
        potentials.get("moon")
    assert potentials.get("flat") is POTENTIALS["flat"]


def test_a_name_is_registered_once():
    def flat(v):
        return v

    with pytest.raises(ValueError, match="'flat' is registered twice"):
        potentials.register(flat)
