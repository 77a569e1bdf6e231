from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jko.kernels import KERNELS
from jko.potentials import POTENTIALS
from jko.simulation import simulate, simulate_snapshots
from jko.snapshots import Truth, load

SCRIPT = Path(__file__).parent.parent / "workflow" / "scripts" / "simulate.py"
SETTINGS = {
    "potential": "flowers",
    "interaction": None,
    "beta": 0.0,
    "dimension": 2,
    "n_train": 40,
    "n_test": 30,
    "steps": 3,
    "tau": 0.01,
    "substeps": 1,
    "pairing": "paired",
    "initial": {"law": "uniform", "low": -4.0, "high": 4.0},
    "seeds": [0, 1],
}


def quadratic_at_one(x):
    """1/2 |x - 1|^2: its diffusion is the Ornstein-Uhlenbeck process around 1."""
    return 0.5 * jnp.sum((x - 1) ** 2)


def pair_forces(name: str, x: np.ndarray) -> np.ndarray:
    """(n, d) mean over y of grad W(x - y), by two plain loops."""
    gradient = jax.jit(jax.grad(KERNELS[name]))
    return np.array(
        [np.mean([gradient(jnp.asarray(a - b)) for b in x], axis=0, dtype=np.float64) for a in x]
    )


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_ornstein_uhlenbeck_mean_and_variance(pairing):
    n, tau, steps, beta, mean0, std0 = 20_000, 0.02, 25, 0.5, 3.0, 0.3
    clouds = simulate(
        jax.random.key(0),
        quadratic_at_one,
        None,
        beta,
        dimension=2,
        n_train=n,
        n_test=n,
        steps=steps,
        tau=tau,
        pairing=pairing,
        initial={"law": "normal", "mean": mean0, "std": std0},
    )
    t = tau * np.arange(steps + 1)
    mean = 1 + (mean0 - 1) * np.exp(-t)
    variance = std0**2 * np.exp(-2 * t) + beta * (1 - np.exp(-2 * t))
    for cloud in clouds:
        x = np.asarray(cloud, np.float64)
        assert x.shape == (steps + 1, n, 2)
        # Five standard errors, and the step's own bias: O(tau) of the distance travelled.
        noise = 5 * np.sqrt(variance / n)
        bias = tau / 2 * t * np.exp(-t) * (mean0 - 1)
        assert np.all(np.abs(x.mean(axis=1) - mean[:, None]) < (noise + 1.2 * bias)[:, None])
        spread = 5 * variance * np.sqrt(2 / n) + 1.2 * tau * beta
        assert np.all(np.abs(x.var(axis=1) - variance[:, None]) < spread[:, None])


def test_the_scheme_is_euler_maruyama_to_the_last_moment():
    # The recursion by hand: m' = (1 - tau) m + tau, s' = (1 - tau)^2 s + 2 tau beta,
    # at a coarse tau.
    n, tau, beta = 50_000, 0.5, 0.3
    clouds = simulate(
        jax.random.key(1),
        quadratic_at_one,
        None,
        beta,
        dimension=1,
        n_train=n,
        n_test=2,
        steps=3,
        tau=tau,
        pairing="paired",
        initial={"law": "normal", "mean": -1.0, "std": 0.5},
    )
    mean, variance = -1.0, 0.25
    for x in np.asarray(clouds.train, np.float64)[..., 0]:
        assert abs(x.mean() - mean) < 5 * np.sqrt(variance / n)
        assert abs(x.var() - variance) < 5 * variance * np.sqrt(2 / n)
        mean, variance = (1 - tau) * mean + tau, (1 - tau) ** 2 * variance + 2 * tau * beta


@pytest.mark.parametrize("interaction", [None, "styblinski_tang", "gaussian_attraction"])
def test_every_paired_step_is_the_explicit_formula(interaction):
    data = simulate_snapshots(SETTINGS | {"interaction": interaction, "seeds": [0]})
    for part in ("train", "test"):
        clouds = data.clouds(0, part)
        for before, after in zip(clouds[:-1], clouds[1:], strict=True):
            x = before.astype(np.float32)
            force = np.asarray(jax.vmap(jax.grad(POTENTIALS["flowers"]))(jnp.asarray(x)))
            if interaction is not None:
                force = force + pair_forces(interaction, x)
            np.testing.assert_allclose(after, before - 0.01 * force, atol=1e-5)


def test_an_even_interaction_alone_keeps_the_mean_and_a_quadratic_one_shrinks_to_it():
    data = simulate_snapshots(
        SETTINGS | {"potential": "flat", "interaction": "quadratic", "tau": 0.1}
    )
    start, end = data.cloud(0, "train", 0), data.cloud(0, "train", 3)
    np.testing.assert_allclose(end.mean(axis=0), start.mean(axis=0), atol=1e-5)
    expected = start.mean(axis=0) + 0.9**3 * (start - start.mean(axis=0))
    np.testing.assert_allclose(end, expected, atol=1e-5)


def test_paired_rows_are_one_particle_and_unpaired_rows_are_not():
    still = SETTINGS | {"potential": "flat", "seeds": [0]}
    paired = simulate_snapshots(still).clouds(0, "train")
    assert all(np.array_equal(paired[0], cloud) for cloud in paired)
    unpaired = simulate_snapshots(still | {"pairing": "unpaired"}).clouds(0, "train")
    everything = np.concatenate(unpaired)
    assert len(np.unique(everything[:, 0])) == len(everything)


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_snapshot_k_has_taken_k_steps(pairing):
    # sphere multiplies every coordinate by 1 + 20 tau, so the cube grows by that factor each step.
    data = simulate_snapshots(
        SETTINGS | {"potential": "sphere", "pairing": pairing, "n_train": 2000, "n_test": 2000}
    )
    extent = np.array([np.abs(cloud).max() for cloud in data.clouds(0, "train")])
    np.testing.assert_allclose(extent / 1.2 ** np.arange(4), 4.0, rtol=0.01)


def test_a_fresh_cloud_interacts_within_itself():
    # Under W = |z|^2 / 2 at tau = 1 each cloud collapses to its own mean in one step.
    data = simulate_snapshots(
        SETTINGS
        | {"potential": "flat", "interaction": "quadratic", "tau": 1.0, "pairing": "unpaired"}
    )
    means = []
    for cloud in data.clouds(0, "train")[1:]:
        np.testing.assert_allclose(cloud, np.tile(cloud[0], (len(cloud), 1)), atol=1e-5)
        means.append(cloud[0])
    assert np.ptp(means, axis=0).min() > 1e-2


def test_rows_belong_to_one_part_of_one_seed_and_the_test_draw_is_fresh():
    data = simulate_snapshots(SETTINGS)
    n = 4 * (40 + 30)
    assert data.x.shape == (2 * n, 2) and data.x.dtype == np.float64
    assert np.array_equal((data.train | data.test).sum(axis=0), np.ones(2 * n))
    assert np.array_equal(data.train.sum(axis=1), [160, 160])
    assert [len(data.cloud(1, "test", k)) for k in range(4)] == [30] * 4
    np.testing.assert_allclose(data.time, [0, 0.01, 0.02, 0.03])
    assert data.truth == Truth("flowers", None, 0.0)
    starts = [data.cloud(s, part, 0) for s in (0, 1) for part in ("train", "test")]
    first = np.concatenate(starts)[:, 0]
    assert len(np.unique(first)) == len(first)


@pytest.mark.parametrize("interaction", [None, "gaussian_attraction"])
def test_substeps_are_the_same_steps_of_which_some_are_kept(interaction):
    fine = SETTINGS | {"interaction": interaction, "beta": 0.2, "steps": 6, "seeds": [0]}
    coarse = fine | {"steps": 2, "tau": 0.03, "substeps": 3}
    kept, few = simulate_snapshots(fine), simulate_snapshots(coarse)
    for k in range(3):
        np.testing.assert_allclose(
            few.cloud(0, "train", k), kept.cloud(0, "train", 3 * k), atol=1e-5
        )
    np.testing.assert_allclose(few.time, [0, 0.03, 0.06])
    assert few.truth.substeps == 3 and kept.truth.substeps == 1


def ring_force(x: np.ndarray) -> np.ndarray:
    """(n, d) grad V + grad W * rho of the cell-interaction system, worked out by hand."""
    square = np.sum((x[:, None] - x[None]) ** 2, axis=-1)  # (n, n)
    pull = 4.4 * np.exp(-square) / len(x)
    return 0.4 * (np.sum(x**2, axis=1) - 4)[:, None] * x + pull.sum(1)[:, None] * x - pull @ x


def test_an_independent_simulator_has_the_law_of_the_cell_interaction_system():
    """Plain numpy, its own noise and half the step: means and covariances agree within the errors."""
    n, tau, steps, substeps, beta = 300, 0.2, 2, 10, 0.1
    law = {"law": "normal", "mean": 0.7, "std": 0.5}
    settings = {
        "potential": "cell_ring", "interaction": "gaussian_attraction", "beta": beta,
        "n_train": n, "n_test": n, "steps": steps, "tau": tau, "substeps": substeps,
        "pairing": "unpaired", "initial": law, "seeds": [0, 1, 2],
    }  # fmt: skip
    data = simulate_snapshots(SETTINGS | settings)
    rng, length = np.random.default_rng(0), tau / (2 * substeps)
    populations = []
    for _ in range(6):
        x = 0.7 + 0.5 * rng.normal(size=(n, 2))
        followed = [x]
        for k in range(1, 2 * substeps * steps + 1):
            noise = rng.normal(size=x.shape)
            x = x - length * ring_force(x) + np.sqrt(2 * length * beta) * noise
            if k % (2 * substeps) == 0:
                followed.append(x)
        populations.append(followed)
    moments = []
    for k in range(steps + 1):
        clouds = [data.cloud(s, part, k) for s in range(3) for part in ("train", "test")]
        mine, other = np.concatenate(clouds), np.concatenate([p[k] for p in populations])
        error = np.sqrt((mine.var(0) + other.var(0)) / (6 * n))
        assert np.all(np.abs(mine.mean(0) - other.mean(0)) < 5 * error)
        # For a nearly normal law the error of a covariance is its size times sqrt(2 / n), at most.
        size = np.max(np.linalg.eigvalsh(np.cov(other.T)))
        assert np.all(np.abs(np.cov(mine.T) - np.cov(other.T)) < 5 * size * np.sqrt(4 / (6 * n)))
        moments.append((other.mean(0), np.cov(other.T)))
    # What was compared is not at rest: V moves the mean to the ring, W draws the cloud together.
    assert np.all(moments[-1][0] - moments[0][0] > 0.2)
    assert np.trace(moments[-1][1]) < 0.85 * np.trace(moments[0][1])


def test_a_seed_is_the_same_whatever_else_is_simulated():
    settings = SETTINGS | {"beta": 0.2, "pairing": "unpaired"}
    one, three = (
        simulate_snapshots(settings | {"seeds": seeds}) for seeds in ([7], [2, 2**32 - 1, 7])
    )
    assert three.seed.tolist() == [2, 2**32 - 1, 7]
    for part in ("train", "test"):
        for a, b in zip(one.clouds(0, part), three.clouds(2, part), strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.array_equal(three.cloud(0, part, 0), three.cloud(1, part, 0))
    np.testing.assert_array_equal(simulate_snapshots(settings | {"seeds": [7]}).x, one.x)


def test_a_spoiled_snapshot_is_the_others_but_for_a_share_of_its_train_particles():
    settings = dict(SETTINGS) | {"n_train": 40, "n_test": 10, "steps": 3, "seeds": [3]}
    clean = simulate_snapshots(settings)
    bad = {"snapshot": 1, "share": 0.25, "shift": 2.0}
    found = simulate_snapshots(settings | {"spoiled": bad})
    rows = clean.rows(0, "train", 1)
    moved = np.flatnonzero((found.x != clean.x).any(axis=1))
    assert len(moved) == 10 and set(moved) <= set(rows)
    gap = found.x[moved] - clean.x[moved]
    np.testing.assert_allclose(gap[:, 0], 2 * clean.x[rows, 0].std())
    assert not gap[:, 1:].any()
    with pytest.raises(ValueError, match="spoiled has the snapshot 4; there are 0 to 3"):
        simulate_snapshots(settings | {"spoiled": bad | {"snapshot": 4}})
    with pytest.raises(ValueError, match="spoiled has the share 0.01, which is none of 40"):
        simulate_snapshots(settings | {"spoiled": bad | {"share": 0.01}})


def test_initial_laws():
    many = SETTINGS | {"n_train": 4000, "n_test": 4000}
    uniform = simulate_snapshots(many).cloud(0, "train", 0)
    assert -4 <= uniform.min() < -3.9 and 3.9 < uniform.max() <= 4
    law = {"law": "normal", "mean": 2.0, "std": 0.5}
    x = simulate_snapshots(many | {"initial": law}).cloud(0, "train", 0)
    np.testing.assert_allclose(x.mean(axis=0), 2, atol=5 * 0.5 / np.sqrt(4000))
    np.testing.assert_allclose(x.std(axis=0), 0.5, rtol=5 / np.sqrt(2 * 4000))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"potential": "moon"}, "unknown potential 'moon'"),
        ({"interaction": "gravity"}, "unknown kernel 'gravity'"),
        ({"beta": -0.1}, "beta is -0.1"),
        ({"beta": float("nan")}, "beta is nan"),
        ({"dimension": 0}, "dimension is 0"),
        ({"dimension": 1, "potential": "beale"}, "dimension 1 is too small"),
        ({"n_train": 1}, "n_train is 1; it must be at least 2"),
        ({"n_test": 0}, "n_test is 0; it must be at least 2"),
        ({"steps": 0}, "steps is 0"),
        ({"substeps": 0}, "substeps is 0"),
        ({"tau": 0.0}, "tau is 0.0"),
        ({"seeds": []}, r"seeds is \[\]"),
        ({"pairing": "both"}, "pairing is 'both'; allowed: paired, unpaired"),
        ({"initial": {"law": "cauchy"}}, "'cauchy'; allowed: uniform, normal"),
        ({"initial": {"law": "normal", "mean": 0.0}}, r"normal takes \['law', 'mean', 'std'\]"),
        ({"initial": {"law": "normal", "mean": 0.0, "std": 0.0}}, "std is 0.0"),
        ({"initial": {"law": "uniform", "low": 1.0, "high": 1.0}}, "low 1.0 must be below"),
    ],
)
def test_settings_that_are_not_allowed(change, message):
    with pytest.raises(ValueError, match=message):
        simulate_snapshots(SETTINGS | change)


def test_missing_settings_are_named():
    settings = {name: SETTINGS[name] for name in SETTINGS if name not in ("tau", "seeds")}
    with pytest.raises(ValueError, match=r"\['tau', 'seeds'\] are missing; found \['beta'"):
        simulate_snapshots(settings)


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_an_explosion_names_potential_seed_snapshot_and_tau(pairing):
    # From |x| of order 1e13 the cubic force passes 1e38, the end of float32, in the first step.
    law = {"law": "uniform", "low": 1e13, "high": 2e13}
    settings = SETTINGS | {"potential": "cell_ring", "initial": law, "pairing": pairing}
    with pytest.raises(
        ValueError, match="'cell_ring'.*seed 0: 40 of 40.*snapshot 1.*steps of 0.01"
    ):
        simulate_snapshots(settings)


def test_the_script_writes_the_snapshots_and_one_line_per_seed(tmp_path):
    output, log = tmp_path / "snapshots.npz", tmp_path / "simulate.log"
    snakemake = SimpleNamespace(
        params=SimpleNamespace(dataset={"kind": "synthetic"} | SETTINGS),
        output=SimpleNamespace(snapshots=str(output)),
        log=[str(log)],
    )
    runpy.run_path(str(SCRIPT), {"snakemake": snakemake})
    written, direct = load(output), simulate_snapshots(SETTINGS)
    np.testing.assert_array_equal(written.x, direct.x)
    assert written.truth == direct.truth
    lines = log.read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["seed 0", "seed 1"]
    assert "flowers" in lines[0] and "4 snapshots of 40 train and 30 test" in lines[0]
