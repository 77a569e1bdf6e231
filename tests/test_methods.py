"""Every method: what it may read, what it leaves, and what its file gives back."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clouds import followed, observed, poisoned
from jko import methods, readable
from jko.methods import Problem
from jko.tables import errors
from jko.training import seed_keys
from learning import ALL, assert_same, energies_of, entries_of, fit, problem_of, settings_of

KINDS = methods.kinds()


def quick(kind: str) -> dict:
    """The schema's defaults with little work, and of several losses the one with the smallest program."""
    losses = {"jkonet": {"loss": "sinkhorn"}}
    return settings_of(kind, **losses.get(kind, {}))


def variants(kind: str) -> dict[str, dict]:
    """A method's first scheme with all that it can learn, and its explicit one, on halves where it can."""
    settings = quick(kind)
    everything = {key: value for key, value in ALL.items() if key in settings}
    halves = {"halves": True} if "halves" in settings else {}
    schemes = entries_of(kind)["scheme"]["enum"]
    found = {f"{kind}-{schemes[0]}-everything": settings | {"scheme": schemes[0]} | everything}
    if "explicit" in schemes:
        found[f"{kind}-explicit"] = settings | {"scheme": "explicit"} | halves
    return found


VARIANTS = [pytest.param(s, id=name) for kind in KINDS for name, s in variants(kind).items()]


def saved(fitted: methods.Fit, seeds: np.ndarray, path: Path) -> bytes:
    methods.save(fitted, seeds, path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def fits() -> dict[str, tuple]:
    """(settings, problem, fit) of every method, :func:`quick`, on two seeds of small clouds."""
    problem = problem_of(observed(seeds=(0, 7)))
    return {kind: (quick(kind), problem, fit(problem, quick(kind))) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_names_its_seeds_and_its_energy_is_finite(fits, kind):
    settings, problem, fitted = fits[kind]
    assert fitted.status == ["ok", "ok"]
    assert list(fitted.history.columns[:2]) == ["seed", "epoch"]
    assert sorted(set(fitted.history["seed"])) == [0, 7]
    assert np.isfinite(fitted.history["loss"]).all()
    for energy in energies_of(fitted, settings):
        value, gradient = jax.value_and_grad(energy.potential)(jnp.ones(2), jnp.float32(0.3))
        assert value.shape == () and value.dtype == jnp.float32
        assert np.isfinite(value) and np.isfinite(gradient).all()
        assert energy.interaction is None and energy.beta == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_back_the_same_energy_and_status(tmp_path, fits, kind):
    settings, problem, fitted = fits[kind]
    path = tmp_path / "fit.msgpack"
    fitted = fitted._replace(status=["ok", "diverged at step 512"])
    methods.save(fitted, problem.snapshots.seed, path)
    loaded, status = methods.load(path, settings)
    assert status == ["ok", "diverged at step 512"] and loaded[1] is None
    assert_same(loaded[0].energy, energies_of(fitted, settings)[0])
    names = methods.summary_of(kind)
    assert tuple(loaded[0].summary) == names
    assert set(names) <= errors.OF_SOME & set(errors.MODES) & set(readable.TITLES)
    assert np.isfinite(list(loaded[0].summary.values())).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seeds_and_train_rows_give_the_same_bytes(tmp_path, fits, kind):
    settings, problem, fitted = fits[kind]
    seeds = problem.snapshots.seed
    again = fit(problem_of(poisoned(problem.snapshots)), settings)
    assert saved(again, seeds, tmp_path / "b") == saved(fitted, seeds, tmp_path / "a")
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(fitted.params)]
    assert any(not np.array_equal(leaf[0], leaf[1]) for leaf in leaves)


@pytest.mark.parametrize("settings", VARIANTS)
def test_no_method_reads_a_test_row(tmp_path, settings):
    data = observed(seeds=(0,))
    wild = poisoned(data)
    assert np.abs(wild.x).max() > 1e3
    clean = saved(fit(problem_of(data), settings), data.seed, tmp_path / "clean")
    assert saved(fit(problem_of(wild), settings), data.seed, tmp_path / "wild") == clean


@pytest.mark.parametrize("kind", KINDS)
def test_data_of_one_seed_that_are_no_numbers_fail_that_seed_only(kind):
    data, coupling = followed(lambda x, k: 0.9 * x + 0.1, n=30, seeds=(0, 7))
    problem = Problem(data, coupling, problem_of(data).density)
    settings = quick(kind)
    healthy = fit(problem, settings)
    x = data.x.copy()
    x[data.rows(1, "train", 1)[3]] = np.nan
    # Snapshots refuse such a row; a number that overflows on the way is no less bad.
    broken = copy.copy(data)
    object.__setattr__(broken, "x", x)
    hurt = fit(problem._replace(snapshots=broken), settings)
    assert healthy.status == ["ok", "ok"]
    assert hurt.status[0] == "ok"
    assert re.fullmatch(r"diverged at step \d+|not solved: .* not finite .*", hurt.status[1])
    for one, other in zip(
        jax.tree.leaves(healthy.params), jax.tree.leaves(hurt.params), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(one)[0], np.asarray(other)[0])
    before, after = (
        f.history[f.history["seed"] == 0].to_numpy(dtype=float) for f in (healthy, hurt)
    )
    np.testing.assert_array_equal(before, after)


def test_a_method_that_does_not_exist_is_named():
    sentence = f"method kind is 'gan'; it must be one of {', '.join(KINDS)}"
    with pytest.raises(ValueError, match=sentence):
        methods.module("gan")


def test_a_loss_above_the_limit_fails_the_seed():
    problem = problem_of(observed(seeds=(0,)))
    settings = settings_of("jkonet_star", learning_rate=1e3, clip=1e6, loss_limit=50.0)
    status = fit(problem, settings).status[0]
    assert status.startswith("diverged at step ") and int(status.split()[-1]) > 0


def test_trainings_do_not_share_numbers_with_simulations():
    simulated = jax.random.split(jax.random.key(3))
    trained = jax.random.split(seed_keys(np.array([3]))[0])
    later = [jax.random.fold_in(key, k) for key in (*simulated, *trained) for k in range(6)]
    bits = [jax.random.key_data(key).tobytes() for key in (*simulated, *trained, *later)]
    assert len(set(bits)) == len(bits)
