"""JKOnet* in closed form: its equations, its features and its choices."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from clouds import followed, observed
from jko import couplings, densities, features, linear_energy, methods, neural
from jko.batches import single
from jko.energies import Energy, static
from jko.methods import Problem, jkonet_star_linear
from jko.pairs import Pairs, coupled_pairs, in_units, units_of
from jko.snapshots import Snapshots
from learning import (
    UNITS,
    assert_same,
    energies_of,
    fit,
    l2_uvps,
    on_the_condition,
    problem_of,
    relative_error,
    settings_of,
    silent,
)


def quartic(x):
    """A polynomial of degree four with mixed terms."""
    return 0.1 * x[0] ** 4 + 0.3 * x[0] ** 2 * x[1] - 0.2 * x[0] * x[1] ** 3 + x[1] ** 2 - x[0]


def quartic_pairs(n: int = 150, seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    with jax.enable_x64(True):
        target = np.asarray(jax.vmap(jax.grad(quartic))(jnp.asarray(x)))
    weight = rng.uniform(0.5, 1.5, n)
    return Pairs(x, np.zeros(n), target, weight / weight.mean())


def bases_of(pairs: Pairs, settings: dict) -> dict:
    rows = jkonet_star_linear.Rows(pairs)
    return jkonet_star_linear.bases_of(rows, [], settings, (4.0, None), seed=0)


def numpy_jacobian(basis: dict, z: np.ndarray) -> np.ndarray:
    """(n, m, d) derivatives of the features by central differences in float64."""
    with jax.enable_x64(True):
        phi = jax.vmap(lambda p: features.features(basis, p))
        steps = 1e-5 * np.eye(z.shape[1])
        columns = [
            np.asarray(phi(jnp.asarray(z + e)) - phi(jnp.asarray(z - e))) / 2e-5 for e in steps
        ]
    return np.stack(columns, axis=2)


@pytest.mark.parametrize("ridge", [1e-6, 1e-2])
def test_the_normal_equations_solve_the_ridge_regression_of_numpy(ridge):
    pairs, settings = quartic_pairs(), settings_of("jkonet_star_linear")
    bases = bases_of(pairs, settings)
    found = jkonet_star_linear.quadratic(bases, None, jkonet_star_linear.Rows(pairs))
    jacobian = numpy_jacobian(bases["potential"], pairs.x)
    n, m, d = jacobian.shape
    assert m == 14 + 10
    root = np.sqrt(np.repeat(pairs.weight, d))[:, None]
    rows = root * jacobian.transpose(0, 2, 1).reshape(n * d, m)
    target = root[:, 0] * pairs.target.ravel()
    level = ridge * np.mean(np.sum(rows**2, axis=0))
    augmented = np.concatenate([rows, np.sqrt(level) * np.eye(m)])
    theta = np.linalg.lstsq(augmented, np.append(target, np.zeros(m)))[0]
    np.testing.assert_allclose(found.minimiser([(m, ridge)]), theta, rtol=1e-3, atol=1e-6)
    expected = np.sum((rows @ theta - target) ** 2) / pairs.weight.sum()
    assert found.loss(theta) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_blocks_of_pairs_change_no_equation():
    pairs, settings = quartic_pairs(n=1500), settings_of("jkonet_star_linear")
    bases = bases_of(pairs, settings)

    def equations(rows):
        part = jkonet_star_linear.Rows(Pairs(*(column[rows] for column in pairs)))
        return jkonet_star_linear.quadratic(bases, None, part)

    whole = equations(slice(None))
    halves = [equations(rows) for rows in (slice(0, 700), slice(700, None))]
    for one, other in zip(whole, halves[0] + halves[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_a_polynomial_of_degree_four_is_found_exactly():
    """In standardised units, with the smallest ridge: the error is that of the ridge alone."""
    pairs = quartic_pairs()
    units = units_of(pairs, np.array([0.0, 1.0]))
    settings = settings_of("jkonet_star_linear", ridges=[1e-8, 1e-2])
    lines = []
    rows = jkonet_star_linear.Rows(in_units(pairs, units))
    theta, bases, loss, _ = jkonet_star_linear.solve(rows, [], settings, 0, lines.append)
    assert (
        loss < 1e-8
        and "ridge 1e-08" in lines[0]
        and "14 of them monomials of degree <= 4" in lines[0]
    )
    params = jkonet_star_linear.params_of(theta, bases, units)
    params = jax.tree.map(single, params)
    new = jnp.asarray(np.random.default_rng(5).normal(size=(40, 2)), jnp.float32)
    gradient = jax.vmap(jax.grad(lambda x: linear_energy.potential(params, x, jnp.zeros(()))))(new)
    expected = np.asarray(jax.vmap(jax.grad(quartic))(new))
    np.testing.assert_allclose(gradient, expected, atol=2e-3 * np.abs(expected).max())


def polynomials(beta: float = 0.4) -> Energy:
    """Terms that the monomials span."""

    def w(z):
        square = jnp.sum(z**2)
        return 0.05 * square**2 - 0.6 * square + 0.3 * z[0] * z[1]

    return Energy(static(quartic), Partial(w), beta)


def slope_of(function):
    """Its gradient at points (n, d)."""
    gradient = jax.vmap(jax.grad(function))
    return lambda points: np.asarray(gradient(jnp.asarray(points, jnp.float32)))


def negative_entropy() -> Energy:
    return polynomials(-0.3)


EXACT = {
    "terms": list(neural.TERMS),
    "centers": 2,
    "bump_widths": [4.0],
    "interaction_waves": 3,
    "interaction_widths": [1.0],
    "ridges": [1e-10],
    "interaction_ridges": [1e-10],
}


@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
def test_all_three_terms_of_an_exact_population_are_found(tmp_path, scheme):
    """Two snapshots leave a quadratic W across the motion of their mean undetermined; four do not."""
    problem = on_the_condition(scheme, 40, polynomials, steps=4)
    settings = settings_of("jkonet_star_linear", scheme=scheme, **EXACT)
    fitted = fit(problem, settings)
    assert fitted.status == ["ok"] and fitted.history["loss"][0] < 1e-8
    methods.save(fitted, np.array([0]), tmp_path / "fit.msgpack")
    energy = methods.load(tmp_path / "fit.msgpack", settings)[0][0].energy
    assert_same(energy, energies_of(fitted, settings)[0])
    assert energy.beta == pytest.approx(0.4, rel=1e-3)
    clouds = problem.snapshots.clouds(0, "train")
    cloud = clouds[0] if scheme == "explicit" else clouds[1]
    potential = functools.partial(energy.potential, t=jnp.float32(0))
    apart = cloud - np.roll(cloud, 1, axis=0)
    assert relative_error(potential, slope_of(quartic), cloud) < 1e-4
    assert relative_error(energy.interaction, slope_of(polynomials().interaction), apart) < 1e-4


def test_a_negative_beta_is_fitted_as_none_and_said_so():
    problem = on_the_condition("explicit", 40, negative_entropy)
    settings = settings_of("jkonet_star_linear", scheme="explicit", **EXACT)
    lines = []
    fitted = jkonet_star_linear.fit(problem, settings, lines.append)
    assert (
        fitted.params["entropy"] == [0.0]
        and "entropy: 0 in units of the energy, at its bound" in lines[0]
    )
    without = fit(problem, settings | {"terms": ["potential", "interaction"]})
    assert "entropy" not in without.params and without.history["loss"][0] > 1e-3
    for term in ("potential", "interaction"):
        one, other = (f.params[term]["theta"] for f in (fitted, without))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(one).max())


def test_the_rows_of_all_terms_are_sums_over_the_other_particles():
    """J against automatic derivatives, one particle after the other; snapshots of unequal size."""
    data = observed((30, 24, 36), seeds=(0,))
    problem = problem_of(data)
    settings = settings_of("jkonet_star_linear", **EXACT)
    pairs = coupled_pairs(data, problem.coupling, 0, "implicit", np.float64)
    rows = jkonet_star_linear.rows_of(problem, settings, 0, pairs, UNITS)
    clouds = [(cloud - UNITS["center"]) / UNITS["width"] for cloud in data.clouds(0, "train")]
    bases = jkonet_star_linear.bases_of(rows, clouds, settings, (4.0, 1.0), 0)
    means = jkonet_star_linear.means_of(bases, clouds)
    gram = 0
    with jax.enable_x64(True):
        slope = jax.jit(jax.jacfwd(features.kernel_features, argnums=1))
        of_v = jax.jit(jax.jacfwd(features.features, argnums=1))
        for p, x in enumerate(rows.pairs.x):
            cloud = clouds[rows.k[p]]
            apart = np.sum((cloud - x) ** 2, axis=1)
            assert apart.min() < 1e-12
            others = np.delete(cloud, np.argmin(apart), axis=0)
            pulls = np.mean(
                [slope(bases["interaction"], jnp.asarray(x - y)) for y in others], axis=0
            )
            score = densities.score(problem.density.mixture(0, rows.k[p]), jnp.asarray(pairs.x[p]))
            own = np.asarray(of_v(bases["potential"], jnp.asarray(x)))
            expected = np.concatenate([own, pulls, UNITS["width"] * np.asarray(score)[None]])
            gram = gram + rows.pairs.weight[p] * expected @ expected.T
    found = jkonet_star_linear.quadratic(bases, means, rows)
    np.testing.assert_allclose(found.gram, gram, rtol=1e-5, atol=1e-6 * np.abs(gram).max())


@pytest.mark.parametrize("term", neural.TERMS)
def test_a_term_alone_is_an_energy_of_that_term(term):
    problem = on_the_condition("explicit")
    settings = settings_of("jkonet_star_linear", terms=[term], interaction_waves=5)
    fitted = fit(problem, settings)
    energy = energies_of(fitted, settings)[0]
    assert set(fitted.params) == {"units", term, *jkonet_star_linear.SUMMARY} and fitted.status == [
        "ok"
    ]
    assert (energy.interaction is None) == (term != "interaction")
    slope = jax.grad(energy.potential)(jnp.ones(2), jnp.float32(0))
    assert np.any(slope != 0) == (term == "potential")
    assert (energy.beta > 0) == (term == "entropy")


def test_a_kernel_of_particles_on_one_spot_has_a_cause():
    """No particle has another apart from it: W has no gradient anywhere, and no ridge to hold to."""
    data, coupling = followed(lambda x, k: 0 * x + k, n=20)
    data = Snapshots(0 * data.x + data.snapshot[:, None], *list(vars(data).values())[1:])
    settings = settings_of("jkonet_star_linear", terms=["interaction"])
    status = fit(Problem(data, coupling), settings).status
    assert status == [
        "not solved: the equations are singular or not finite at every ridge and width"
    ]


def test_directions_that_the_data_do_not_determine_are_counted(tmp_path):
    """Particles at three places in the plane show six numbers of a gradient, and no more of 14 monomials and 3 bumps."""
    data, coupling = followed(lambda x, k: x, n=60)
    spots = np.array([[0.0, 0.0], [1.0, 0.5], [-0.5, 2.0]])
    few = dataclasses.replace(data, x=spots[np.arange(len(data.x)) % 3])
    settings = settings_of("jkonet_star_linear", scheme="explicit", ridges=[1e-4])
    found = {}
    for name, snapshots in {"many": data, "few": few}.items():
        methods.save(fit(Problem(snapshots, coupling), settings), data.seed, tmp_path / name)
        (learned,), status = methods.load(tmp_path / name, settings)
        assert status == ["ok"]
        found[name] = learned.summary
    assert (found["many"]["features"], found["many"]["rank"]) == (24, 24)
    assert (found["few"]["features"], found["few"]["rank"]) == (17, 6)
    # What holds the other eleven is the ridge.
    assert 1e3 < found["few"]["condition"] < 1e6


def test_noise_calls_for_a_larger_ridge_than_exact_data():
    exact = quartic_pairs(n=60)
    noise = np.random.default_rng(1).normal(size=exact.target.shape) * 3
    settings = settings_of("jkonet_star_linear", centers=40, ridges=[1e-8, 1e-2], bump_widths=[4.0])
    chosen = {}
    for name, pairs in (("exact", exact), ("noisy", exact._replace(target=noise))):
        rows = jkonet_star_linear.Rows(pairs)
        chosen[name] = jkonet_star_linear.choose(rows, [], settings, 0)[1]
    assert chosen == {"exact": (1e-8,), "noisy": (1e-2,)}


def test_equations_that_are_singular_for_every_candidate_are_said_to_be():
    """Three pairs cannot tell 16 features apart, and a ridge below rounding does not help."""
    problem = problem_of(observed(sizes=(6, 6), seeds=(0,)))
    settings = settings_of("jkonet_star_linear", centers=2, ridges=[1e-30])
    status = fit(problem, settings).status
    assert status == [
        "not solved: the equations are singular or not finite at every ridge and width"
    ]
    solvable = settings_of("jkonet_star_linear", centers=2, ridges=[1e-30, 1e-4])
    assert fit(problem, solvable).status == ["ok"]


def test_a_point_in_several_pairs_stands_in_one_fold(monkeypatch):
    seen, quadratic = [], jkonet_star_linear.quadratic

    def noting(bases, means, rows):
        seen.append(rows.pairs.x)
        return quadratic(bases, means, rows)

    monkeypatch.setattr(jkonet_star_linear, "quadratic", noting)
    rng = np.random.default_rng(0)
    points = np.repeat(rng.normal(size=(40, 2)), 3, axis=0)  # each point in three pairs
    pairs = Pairs(points, np.zeros(120), rng.normal(size=(120, 2)), np.ones(120))
    settings = settings_of("jkonet_star_linear", centers=5, bump_widths=[4], ridges=[1e-4])
    jkonet_star_linear.choose(jkonet_star_linear.Rows(pairs), [], settings, seed=0)
    parts = [{tuple(point) for point in part} for part in seen]
    assert len(parts) == 5 and sum(map(len, parts)) == len(set.union(*parts)) == 40


@pytest.mark.parametrize("terms", [["potential", "entropy"], ["interaction"], ["potential"]])
def test_an_interval_stands_in_one_fold_where_a_term_is_that_of_a_snapshot(terms):
    problem = on_the_condition("explicit", 40, polynomials, steps=4)
    settings = settings_of("jkonet_star_linear", scheme="explicit", terms=terms)
    pairs = coupled_pairs(problem.snapshots, problem.coupling, 0, "explicit")
    rows = jkonet_star_linear.rows_of(problem, settings, 0, pairs, UNITS)
    fold = jkonet_star_linear.folds_of(rows, 0)
    interval = problem.coupling.k
    if terms == ["potential"]:
        assert [len(set(fold[interval == k])) for k in range(4)] == [5] * 4
    else:
        np.testing.assert_array_equal(fold, interval)
        # A single interval is folded by its points.
        one = jax.tree.map(lambda column: column[interval == 2], rows)
        assert len(set(jkonet_star_linear.folds_of(one, 0))) == 5


def test_an_interaction_that_only_sampling_shows_is_left_out():
    """Standard Gaussians whose wanted gradients x have an error of each interval's own, as means over tau have.

    Their means differ by 1 / sqrt(n) only, which a large quadratic W, and -W in V, make into that error.
    """
    rng, n, intervals = np.random.default_rng(3), 300, 5
    clouds = list(rng.normal(size=(intervals, n, 2)))
    x, k = np.concatenate(clouds), np.repeat(np.arange(intervals, dtype=np.int32), n)
    rows = jkonet_star_linear.Rows(
        Pairs(x, np.zeros(len(x)), x + rng.normal(size=(intervals, 2))[k], np.ones(len(x))), k
    )
    base = settings_of("jkonet_star_linear", terms=["potential", "interaction"])
    error = {}
    for name, ridges in (("small", [1e-6]), ("chosen", base["interaction_ridges"])):
        widths = {"bump_widths": [16], "interaction_widths": [1]}
        settings = base | widths | {"interaction_ridges": ridges}
        theta, bases, *_ = jkonet_star_linear.solve(rows, clouds, settings, 0, silent)
        units = {"center": 0.0, "width": 1.0, "scale": 1.0, "time_center": 0.0, "time_width": 1.0}
        params = jkonet_star_linear.params_of(theta, bases, units)
        params = jax.tree.map(single, params)
        potential = functools.partial(linear_energy.potential, params, t=jnp.float32(0))
        error[name] = relative_error(potential, lambda z: z, x)
    # What V cannot help is the mean of the five errors, 0.45 per coordinate.
    assert error["small"] > 10 and error["chosen"] < 1, error


def test_fifty_dimensions_stay_usable():
    tau = 0.1
    data, coupling = followed(lambda x, k: x - tau * x, d=50, n=60, steps=1, tau=tau)
    settings = settings_of("jkonet_star_linear", scheme="explicit", bump_widths=[16], ridges=[1e-4])
    fitted = fit(Problem(data, coupling), settings)
    assert fitted.params["potential"]["basis"]["monomials"].shape == (1, 1325 + 2 * 50, 4)
    energy = energies_of(fitted, settings)[0]

    def truth(x):
        return 0.5 * jnp.sum(x**2)

    found = max(l2_uvps(energy, truth, data, "explicit"))
    zero = max(l2_uvps(Energy(static(lambda x: jnp.zeros(()))), truth, data, "explicit"))
    assert found < 0.05 * zero


def brownian(n: int, tau: float, first: int, seeds: int = 8, steps: int = 5):
    """Normal particles that diffuse with beta 0.2, and the coupling that follows each."""
    rng = np.random.default_rng([first, n])
    noise = np.sqrt(2 * 0.2 * tau)
    return followed(
        lambda x, k: x + noise * rng.normal(size=x.shape),
        n=n,
        steps=steps,
        tau=tau,
        seeds=range(first, first + seeds),
    )


def of_the_score(problem: Problem, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Of every seed the free minimiser of beta alone, which may be negative, and E s . (y - x): (S,) each."""
    settings, found = settings_of("jkonet_star_linear", scheme=scheme, terms=["entropy"]), []
    for s in range(len(problem.snapshots.seed)):
        pairs = coupled_pairs(problem.snapshots, problem.coupling, s, scheme, np.float64)
        units = units_of(pairs, problem.snapshots.time)
        rows = jkonet_star_linear.rows_of(problem, settings, s, pairs, units)
        loss = jkonet_star_linear.quadratic({}, None, rows)
        moment, scale = loss.moment[0], float(units["scale"])
        work = -problem.snapshots.tau[0] * scale * moment / loss.mass / float(units["width"]) ** 2
        found.append((scale * moment / loss.gram[0, 0], work))
    beta, work = np.transpose(found)
    return beta, work


def gaussians(data: Snapshots):
    return densities.fit_mixtures(data, components=1, relative_floor=1e-3, report=silent)


@pytest.mark.parametrize("scheme, sign", [("explicit", -1), ("implicit", 1)])
def test_beta_is_biased_by_the_cost_of_the_coupling(scheme, sign):
    """Of Brownian particles followed through time explicit steps see no entropy and implicit ones twice of it; the
    exact coupling of the same particles lies between, where its cost says.
    """
    data, joint = brownian(200, 0.05, first=0)
    exact = couplings.couple_snapshots(data, {"kind": "exact"}, silent)
    density = gaussians(brownian(5000, 0.05, first=50)[0])
    biases = {}
    for name, coupling in {"joint": joint, "exact": exact}.items():
        found, _ = of_the_score(Problem(data, coupling, density), scheme)
        biases[name] = sign * coupling.cost.mean() / (2 * 2 * 0.05)
        deviation = found.std(ddof=1) / np.sqrt(len(found))
        assert found.mean() == pytest.approx(0.2 + biases[name], abs=3 * deviation), name
        assert deviation < 0.03
    assert sign * biases["joint"] == pytest.approx(0.2, rel=0.05)
    assert 0.03 < sign * biases["exact"] < 0.8 * sign * biases["joint"]


def standing(x, k):
    """A sample of its own for every snapshot, of the same law."""
    return np.random.default_rng([k, len(x), int(1e6 * abs(x[0, 0]))]).normal(size=x.shape)


@pytest.mark.parametrize("scheme, sign", [("explicit", -1), ("implicit", 1)])
@pytest.mark.parametrize("paired", [False, True])
def test_beta_is_biased_by_a_score_of_independent_particles_themselves(scheme, sign, paired):
    """Of a Gaussian with the sample's own two means and three second moments, each moves E s . (y - x) by 1 / n; where
    particles are followed through time none does, as both snapshots have the same noise.
    """
    n, seeds = 200, range(8)

    def population(n):
        if paired:
            return brownian(n, 0.05, first=0, steps=10)[0]
        return followed(standing, n=n, steps=10, tau=1.0, seeds=seeds)[0]

    data = population(n)
    coupling = couplings.couple_snapshots(data, {"kind": "exact"}, silent)
    own, fresh = (
        of_the_score(Problem(data, coupling, mixtures), scheme)[1]
        for mixtures in (gaussians(data), gaussians(population(5000)))
    )
    shift = own - fresh
    deviation = shift.std(ddof=1) / np.sqrt(len(seeds))
    expected = 0 if paired else sign * 5 / n
    assert shift.mean() == pytest.approx(expected, abs=3 * deviation)
    assert deviation < 1 / n
