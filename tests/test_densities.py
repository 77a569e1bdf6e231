"""Gaussian mixtures and kernel densities against scipy, finite differences and closed forms; no component is lost.

The entropy against closed forms, by hand, and against all pairwise distances.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats

from clouds import observed, poisoned
from jko import densities
from jko.densities import Mixture, SnapshotMixtures
from jko.snapshots import Snapshots, split

WEIGHT = np.array([0.5, 0.3, 0.2])
MEAN = np.array([[0.0, 0.0], [3.0, -1.0], [-2.0, 4.0]])
COVARIANCE = np.array(
    [[[1.0, 0.3], [0.3, 0.5]], [[0.2, 0.0], [0.0, 2.0]], [[1.5, -0.7], [-0.7, 0.8]]]
)
POINTS = np.random.default_rng(0).normal(size=(50, 2)) * 3


def mixture_of(weight, mean, covariance) -> Mixture:
    root = np.linalg.cholesky(covariance)
    return Mixture(*(jnp.asarray(array, jnp.float32) for array in (np.log(weight), mean, root)))


def reference(x: np.ndarray) -> np.ndarray:
    """Log of the sum of scipy's densities."""
    parts = [
        np.log(w) + scipy.stats.multivariate_normal(m, c).logpdf(x)
        for w, m, c in zip(WEIGHT, MEAN, COVARIANCE, strict=True)
    ]
    return np.logaddexp.reduce(parts)


MIXTURE = mixture_of(WEIGHT, MEAN, COVARIANCE)


def test_log_density_is_that_of_scipy():
    found = jax.vmap(densities.log_density, in_axes=(None, 0))(
        MIXTURE, jnp.asarray(POINTS, jnp.float32)
    )
    np.testing.assert_allclose(found, reference(POINTS), rtol=1e-5, atol=1e-5)


def test_far_away_logs_are_finite_where_the_density_is_zero():
    far = np.array([1e6, -1e6])
    assert np.exp(reference(far)) == 0
    found = densities.log_density(MIXTURE, jnp.asarray(far, jnp.float32))
    np.testing.assert_allclose(found, reference(far), rtol=1e-5)
    score = densities.score(MIXTURE, jnp.asarray(far, jnp.float32))
    # There one component outweighs the others by far: its score is -C^{-1} (x - m).
    nearest = np.argmax(
        [scipy.stats.multivariate_normal(m, c).logpdf(far) for m, c in zip(MEAN, COVARIANCE)]
    )
    expected = -np.linalg.solve(COVARIANCE[nearest], far - MEAN[nearest])
    np.testing.assert_allclose(score, expected, rtol=1e-4)


def test_score_is_the_finite_difference_of_the_log_density():
    step = 1e-5
    for x in POINTS[:10]:
        difference = [
            (reference(x + step * e) - reference(x - step * e)) / (2 * step) for e in np.eye(2)
        ]
        found = densities.score(MIXTURE, jnp.asarray(x, jnp.float32))
        np.testing.assert_allclose(found, difference, rtol=1e-3, atol=1e-4)


def test_score_of_one_gaussian_is_linear():
    one = mixture_of(WEIGHT[:1] / WEIGHT[:1].sum(), MEAN[1:2], COVARIANCE[2:3])
    found = jax.vmap(densities.score, in_axes=(None, 0))(one, jnp.asarray(POINTS, jnp.float32))
    expected = -np.linalg.solve(COVARIANCE[2], (POINTS - MEAN[1]).T).T
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_two_equal_components_are_one():
    twice = mixture_of(np.array([0.5, 0.5]), MEAN[[0, 0]], COVARIANCE[[0, 0]])
    once = mixture_of(np.array([1.0]), MEAN[:1], COVARIANCE[:1])
    x = jnp.array([0.7, -0.2])
    np.testing.assert_allclose(
        densities.log_density(twice, x), densities.log_density(once, x), rtol=1e-6
    )


def test_planted_gaussians_are_found(tmp_path):
    rng = np.random.default_rng(1)
    component = rng.choice(3, size=4000, p=WEIGHT)
    x = MEAN[component] + np.einsum(
        "nij,nj->ni", np.linalg.cholesky(COVARIANCE)[component], rng.normal(size=(4000, 2))
    )
    data, lines = split(x, np.repeat([0.0, 1.0], 2000), [4], 0.9), []
    fitted = densities.fit_mixtures(data, components=3, relative_floor=1e-6, report=lines.append)
    assert fitted.weight.shape == (1, 2, 3) and fitted.covariance.shape == (1, 2, 3, 2, 2)
    assert len(lines) == 2 and lines[0].startswith("seed 4 snapshot 0: mean log density ")
    for k in (0, 1):
        order = [np.argmin(np.linalg.norm(fitted.mean[0, k] - m, axis=1)) for m in MEAN]
        assert sorted(order) == [0, 1, 2]
        np.testing.assert_allclose(fitted.weight[0, k, order], WEIGHT, atol=0.05)
        np.testing.assert_allclose(fitted.mean[0, k, order], MEAN, atol=0.25)
        np.testing.assert_allclose(fitted.covariance[0, k, order], COVARIANCE, atol=0.35)
    densities.save(fitted, tmp_path / "density.npz")
    again = densities.load(tmp_path / "density.npz")
    for before, after in zip(fitted, again, strict=True):
        np.testing.assert_array_equal(before, after)
    found = densities.log_density(again.mixture(0, 1), jnp.zeros(2))
    np.testing.assert_allclose(found, reference(np.zeros(2)), atol=0.15)


def test_repeated_points_keep_all_components_and_finite_logs():
    """Half of the particles stand on one spot: the component there keeps the floor's width."""
    rng = np.random.default_rng(2)
    x = np.concatenate([np.full((60, 2), 2.0), rng.normal(size=(60, 2))])
    data = split(np.concatenate([x, x]), np.repeat([0.0, 1.0], 120), [0], 0.8)
    fitted = densities.fit_mixtures(
        data, components=4, relative_floor=1e-3, report=lambda line: None
    )
    assert (fitted.weight > 0).all() and np.isfinite(fitted.covariance).all()
    floor = 1e-3 * data.cloud(0, "train", 0).var(axis=0).mean()
    assert (np.linalg.eigvalsh(fitted.covariance[0, 0]) >= 0.99 * floor).all()
    at = jnp.asarray([[2.0, 2.0], [0.0, 0.0], [50.0, -50.0]])
    mixture = fitted.mixture(0, 0)
    for function in (densities.log_density, densities.score):
        assert np.isfinite(jax.vmap(function, in_axes=(None, 0))(mixture, at)).all()


def test_a_snapshot_without_extent_is_refused():
    data = split(
        np.repeat([[1.0, 2.0], [3.0, 4.0]], 20, axis=0), np.repeat([0.0, 1.0], 20), [0], 0.6
    )
    with pytest.raises(ValueError, match="all train particles of snapshot 0 stand on one point"):
        densities.fit_mixtures(data, components=2, relative_floor=1e-3)


GMM = {"kind": "gmm", "components": 2, "relative_floor": 1e-3}
KDE = {"kind": "kde", "factors": [0.5, 0.7, 1.0, 1.4]}


@pytest.mark.parametrize("settings", [GMM, KDE], ids=["gmm", "kde"])
def test_test_rows_change_no_density(settings):
    data = observed(seeds=(0,))
    fitted = densities.estimate(data, settings, lambda line: None)
    again = densities.estimate(poisoned(data), settings, lambda line: None)
    for before, after in zip(fitted, again, strict=True):
        np.testing.assert_array_equal(before, after)


def test_what_cannot_be_estimated_says_why():
    data = observed()
    with pytest.raises(
        ValueError, match="snapshot 1 has 14 train particles; 14 components need more"
    ):
        densities.fit_mixtures(data, components=14, relative_floor=1e-3, report=lambda line: None)
    with pytest.raises(ValueError, match="density kind is 'histogram'; it must be gmm or kde"):
        densities.estimate(data, {"kind": "histogram"})


def kernels_of(clouds, factors=(1.0,)) -> tuple[Snapshots, SnapshotMixtures]:
    """Kernel densities of train snapshots (n, d), each with as many test particles."""
    x = np.concatenate([*clouds, *clouds])
    snapshot = np.concatenate(2 * [np.full(len(cloud), k) for k, cloud in enumerate(clouds)])
    train = (np.arange(len(x)) < len(x) // 2)[None]
    data = Snapshots(x, snapshot, np.arange(len(clouds)), np.array([0]), train, ~train)
    return data, densities.fit_kernels(data, factors=factors, report=lambda line: None)


def test_a_kernel_density_is_that_of_scipy_for_snapshots_of_any_size(tmp_path):
    rng = np.random.default_rng(3)
    turn = np.array([[2.0, 0.0], [0.7, 0.5]])
    clouds = [rng.normal(size=(n, 2)) @ turn + 10 for n in (40, 25)]
    fitted = kernels_of(clouds)[1]
    assert fitted.mean.shape == (1, 2, 40, 2) and fitted.covariance.shape == (1, 2, 1, 2, 2)
    densities.save(fitted, tmp_path / "density.npz")
    fitted = densities.load(tmp_path / "density.npz")
    for k, cloud in enumerate(clouds):
        rule = (2 / 3) ** (1 / 8) * len(cloud) ** (-1 / 8)
        oracle = scipy.stats.gaussian_kde(cloud.T, rule)
        at = jnp.asarray(cloud[:10] + 0.3, jnp.float32)
        mixture = fitted.mixture(0, k)
        assert len(mixture.mean) == len(cloud)
        found = jax.vmap(densities.log_density, in_axes=(None, 0))(mixture, at)
        np.testing.assert_allclose(found, oracle.logpdf(at.T), rtol=1e-4, atol=1e-4)
        # Nine standard deviations away nothing is left of the density but its logarithm.
        assert np.isfinite(densities.log_density(mixture, at[0] + 100))


@pytest.mark.parametrize("d", [1, 3])
def test_the_mismatch_of_a_bandwidth_is_that_of_automatic_derivatives_without_the_particle(d):
    z = np.random.default_rng(d).normal(size=(12, d))
    bandwidths = np.array([0.4, 0.9])
    found = densities._score_mismatch(z, bandwidths)
    with jax.enable_x64(True):
        for h, value in zip(bandwidths, found, strict=True):

            def log_density(x, others, h=h):
                return jax.nn.logsumexp(-jnp.sum((x[None] - others) ** 2, axis=1) / (2 * h**2))

            parts = []
            for i in range(12):
                at = jnp.asarray(z[i]), jnp.asarray(np.delete(z, i, axis=0))
                score = jax.grad(log_density)(*at)
                parts.append(jnp.sum(score**2) / 2 + jnp.trace(jax.hessian(log_density)(*at)))
            assert value == pytest.approx(float(np.mean(parts)), rel=1e-9)


def test_the_score_at_train_particles_of_a_gaussian_is_near_its_closed_form_by_both_estimates():
    covariance, center = np.array([[1.0, 0.6], [0.6, 0.8]]), np.array([3.0, -1.0])
    rng = np.random.default_rng(4)
    clouds = [rng.multivariate_normal(center, covariance, n) for n in (1000, 300)]
    data, kernels = kernels_of(clouds, KDE["factors"])
    mixtures = densities.estimate(data, GMM, lambda line: None)
    # Five in other order, of both snapshots.
    k, place = np.array([1, 0, 0, 1, 0]), np.array([7, 3, 999, 299, 0])
    some = densities.scores(kernels, data, 0, k, place)
    for q in (0, 1):
        at = jnp.asarray(clouds[q][place[k == q]], jnp.float32)
        found = jax.vmap(densities.score, in_axes=(None, 0))(kernels.mixture(0, q), at)
        np.testing.assert_allclose(some[k == q], found, rtol=1e-3, atol=1e-3)
    expected = -np.linalg.solve(covariance, (clouds[0] - center).T).T
    error = {}
    for name, fitted in (("kde", kernels), ("gmm", mixtures)):
        found = densities.scores(fitted, data, 0, np.zeros(1000, int), np.arange(1000))
        error[name] = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    # Two components are nearly the truth. The kernels widen it by h^2, a tenth, and take the root of the rest
    # from sampling.
    assert error["gmm"] < 0.15 and error["gmm"] < error["kde"] < 0.3


def test_a_bandwidth_suits_the_population():
    """Wide for a Gaussian; narrow for one in two far parts, whose covariance is that of their distance."""
    rng = np.random.default_rng(5)
    one, other = rng.normal(size=(2, 150, 2))
    whole, parts = np.concatenate([one, other]), np.concatenate([one, other + [12, 0]])
    rule = (2 / 3) ** (1 / 4) * 300 ** (-1 / 4)
    fitted = kernels_of([whole, parts], (0.25, 1.0))[1]
    for k, (cloud, factor) in enumerate([(whole, 1.0), (parts, 0.25)]):
        expected = factor**2 * rule * np.cov(cloud.T)
        np.testing.assert_allclose(fitted.covariance[0, k, 0], expected, rtol=1e-6)


def test_a_kernel_density_of_particles_on_a_line_is_refused():
    line = np.outer(np.arange(10.0), [1.0, 2.0])
    with pytest.raises(ValueError, match="10 train particles of snapshot 0 span fewer than 2 dim"):
        kernels_of([line, line])


def gaussian_entropy(d: int) -> float:
    return 0.5 * d * np.log(2 * np.pi * np.e)


def gaussian_cloud(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Standard Gaussian, scaled to mean |x|^2 = d: the mean of -log rho over the points is then H.

    Its sampling variance d / (2n) is gone; that of the distances, about 0.3 / n, is left.
    """
    x = rng.normal(size=(n, d))
    return x / np.sqrt(np.mean(x**2))


def test_entropy_of_three_points_by_hand():
    # On a line at 0, 1, 3: the nearest are 1, 1 and 2 away, the second nearest 3, 2 and 3;
    # psi(3) - psi(1) = 1 + 1/2, psi(3) - psi(2) = 1/2, and the unit ball is [-1, 1].
    x = np.array([[0.0], [1.0], [3.0]])
    first = 3 / 2 + np.log(2) + np.log(1 * 1 * 2) / 3
    second = 1 / 2 + np.log(2) + np.log(3 * 2 * 3) / 3
    np.testing.assert_allclose(densities.knn_entropy(x, 1), first, rtol=1e-14)
    np.testing.assert_allclose(densities.knn_entropy(x, 2), second, rtol=1e-14)


@pytest.mark.parametrize("neighbours", [1, 5, 39])
def test_entropy_is_that_of_all_pairwise_distances(neighbours):
    """With psi(n) - psi(k) as a sum of 1/j, and the unit ball's volume as that of dimension 3."""
    x = np.random.default_rng(3).standard_t(3, size=(40, 3))
    sorted_rows = np.sort(scipy.spatial.distance.cdist(x, x), axis=1)
    ball = 4 / 3 * np.pi * sorted_rows[:, neighbours] ** 3
    expected = sum(1 / j for j in range(neighbours, 40)) + np.mean(np.log(ball))
    np.testing.assert_allclose(densities.knn_entropy(x, neighbours), expected, rtol=1e-12)


@pytest.mark.parametrize("d", range(1, 11))
def test_entropy_of_a_standard_gaussian(d):
    found = densities.knn_entropy(gaussian_cloud(np.random.default_rng(d), 4000, d))
    # Four standard deviations of 0.009, and the curvature's bias, up to 0.07 around d = 5.
    np.testing.assert_allclose(found, gaussian_entropy(d), atol=0.036 + (0.07 if d > 1 else 0))


def test_entropy_of_a_stretched_gaussian_has_the_log_determinant():
    root = np.array([[5.0, 0.0, 0.0], [1.0, 0.5, 0.0], [-2.0, 0.3, 2.0]])
    x = gaussian_cloud(np.random.default_rng(5), 4000, 3) @ root.T
    covariance_term = 0.5 * np.linalg.slogdet(root @ root.T)[1]
    found = densities.knn_entropy(x)
    # Four standard deviations of 0.009, and a bias of 0.03.
    np.testing.assert_allclose(found, gaussian_entropy(3) + covariance_term, atol=0.066)


@pytest.mark.parametrize("sides", [(0.1,), (8.0, 8.0), (1.0, 4.0)])
def test_entropy_of_a_box_is_its_log_volume(sides):
    x = np.random.default_rng(6).uniform(size=(4000, len(sides))) * sides
    # Four standard deviations of 0.01, and the edge's bias, 0.03 in d = 2.
    np.testing.assert_allclose(densities.knn_entropy(x), np.log(np.prod(sides)), atol=0.07)


def test_an_edge_makes_entropy_too_large_by_order_n_to_the_minus_one_over_d():
    rng, d = np.random.default_rng(7), 3
    bias = [
        np.mean([densities.knn_entropy(rng.uniform(size=(n, d))) for _ in range(20)])
        for n in (500, 4000)
    ]
    # The means are known to 3 %, their ratio to 4 %, of which five are allowed.
    assert bias[0] > bias[1] > 0
    np.testing.assert_allclose(bias[0] / bias[1], 8 ** (1 / d), rtol=0.2)


@pytest.mark.parametrize("d", range(1, 11))
def test_the_edge_of_a_cube_adds_at_most_log_two_a_dimension(d):
    """A cube around a corner holds 2^-d of a ball, and every other point of it more, while the ball is no wider than the cube."""
    x = np.random.default_rng(20 + d).uniform(size=(4000, d))
    # Four standard deviations of 0.009.
    assert -0.036 < densities.knn_entropy(x) < d * np.log(2) + 0.036


def test_the_error_of_a_cube_in_ten_dimensions_falls_with_its_points():
    rng = np.random.default_rng(31)
    few, some, many = (densities.knn_entropy(rng.uniform(size=(n, 10))) for n in (250, 1000, 4000))
    assert few > some > many > 0


@pytest.mark.parametrize("d", range(1, 11))
def test_entropy_of_a_mixture_of_two_far_gaussians_is_larger_by_their_weights(d):
    rng = np.random.default_rng(40 + d)
    one, other = gaussian_cloud(rng, 3000, d), gaussian_cloud(rng, 1000, d)
    weights = np.array([0.75, 0.25])
    found = densities.knn_entropy(np.concatenate([one, other + 1e3]))
    expected = gaussian_entropy(d) - np.sum(weights * np.log(weights))
    # Four standard deviations of 0.009, and the bias of the curvature: 0.013 in d = 2, up to 0.08 in more.
    bias = {1: 0, 2: 0.014}.get(d, 0.09)
    np.testing.assert_allclose(found, expected, atol=0.036 + bias)


def test_a_copy_far_away_adds_log_two_to_the_entropy():
    one = gaussian_cloud(np.random.default_rng(8), 2000, 2)
    # It changes no distance, only psi(n) into psi(2n).
    twice = densities.knn_entropy(np.concatenate([one, one + 1e3]))
    more = scipy.special.digamma(4000) - scipy.special.digamma(2000)
    np.testing.assert_allclose(twice, densities.knn_entropy(one) + more, rtol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_entropy_moves_with_the_scale_and_not_with_the_place(d):
    rng = np.random.default_rng(9)
    x = rng.standard_t(4, size=(300, d))
    turn = scipy.stats.ortho_group.rvs(d, random_state=rng) if d > 1 else -np.eye(1)
    entropy = densities.knn_entropy(x)
    # Exact but for rounding: of the coordinates, where they are shifted.
    for a in (1e-6, 0.3, 1e4):
        np.testing.assert_allclose(
            densities.knn_entropy(a * x), entropy + d * np.log(a), rtol=0, atol=1e-11
        )
    np.testing.assert_allclose(densities.knn_entropy(x + 100), entropy, rtol=0, atol=1e-9)
    np.testing.assert_allclose(densities.knn_entropy(x @ turn), entropy, rtol=0, atol=1e-11)


def test_the_entropy_error_falls_as_one_over_the_root_of_the_points():
    rng, sizes = np.random.default_rng(10), (250, 1000, 4000)
    error = [
        np.sqrt(
            np.mean(
                [
                    (densities.knn_entropy(rng.normal(size=(n, 2))) - gaussian_entropy(2)) ** 2
                    for _ in range(60)
                ]
            )
        )
        for n in sizes
    ]
    # A root mean square of 60 draws is known to 1 / sqrt(120) = 9 %: 13 % for the ratio of two and
    # 0.045 for the slope, of which the tolerance is three.
    assert error[0] > error[1] > error[2]
    slope = np.log(error[2] / error[0]) / np.log(sizes[2] / sizes[0])
    np.testing.assert_allclose(slope, -0.5, atol=0.14)


def test_coinciding_points_and_too_few_have_no_entropy():
    x = np.random.default_rng(11).normal(size=(20, 2))
    x[:6] = x[0]
    with pytest.raises(ValueError, match="6 of 20 points coincide with 5 or more others"):
        densities.knn_entropy(x)
    # With five on one spot their fifth neighbour is elsewhere.
    assert np.isfinite(densities.knn_entropy(x[1:]))
    assert np.isfinite(densities.knn_entropy(x[6:12]))
    with pytest.raises(ValueError, match="entropy by 5 neighbours of 5 points; neighbours must"):
        densities.knn_entropy(x[6:11])
    with pytest.raises(ValueError, match="entropy by 0 neighbours of 20 points"):
        densities.knn_entropy(x, 0)
