"""The long table: complete, a reason beside every missing number, and honest references."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax.tree_util import Partial

from clouds import followed, observed, poisoned
from jko import evaluation, metrics
from jko.energies import Energy, static, zero_energy
from jko.potentials import POTENTIALS
from jko.prediction import predict
from jko.simulation import simulate_snapshots
from jko.snapshots import Truth
from jko.uncertainty import Uncertainty

DATA = observed(sizes=(30, 24, 36), seeds=(3, 8))
TAU = 0.01
SIMULATION = {
    "potential": "oakley_ohagan",
    "interaction": None,
    "beta": 0.0,
    "dimension": 2,
    "n_train": 150,
    "n_test": 150,
    "steps": 2,
    "tau": TAU,
    "substeps": 1,
    "pairing": "unpaired",
    "initial": {"law": "uniform", "low": -4.0, "high": 4.0},
    "seeds": [0],
}
SIMULATED = simulate_snapshots(SIMULATION, lambda line: None)


def frame(numbers) -> pd.DataFrame:
    return evaluation.table(numbers, "cells", "manifest.json")


def fit_table(data=DATA, energy=None, scheme="implicit") -> pd.DataFrame:
    """A fit whose first seed is at rest and whose others failed."""
    energy = energy or zero_energy()
    failed = len(data.seed) - 1
    numbers = evaluation.evaluate_fit(
        data,
        [energy] + [None] * failed,
        [predict(energy, data, 0, scheme)] + [None] * failed,
        ["ok"] + ["diverged at step 512"] * failed,
        scheme,
        "mine",
    )
    return frame(numbers)


def test_a_table_has_every_row_of_every_seed_once():
    table = fit_table()
    assert tuple(table.columns) == evaluation.COLUMNS
    assert set(table["dataset"]) == {"cells"} and set(table["manifest"]) == {"manifest.json"}
    keys = ["seed", "mode", "scheme", "metric", "time"]
    assert not table.duplicated(keys).any()
    expected = {
        (seed, mode, scheme, metric, time)
        for seed in (3, 8)
        for mode, scheme in (
            ("one_step", "explicit"), ("one_step", "implicit"), ("rollout", "implicit")
        )
        for metric in ("w1", "bw2_uvp", "symmetric_kl")
        for time in (0.5, 1.25)
    }  # fmt: skip
    assert set(table[keys].itertuples(index=False, name=None)) == expected


def test_a_failed_seed_is_a_reason_and_no_number():
    table = fit_table()
    failed = table[table["seed"] == 8]
    assert failed["value"].isna().all() and set(failed["reason"]) == {"diverged at step 512"}
    good = table[table["seed"] == 3]
    assert np.isfinite(good["value"]).all() and set(good["reason"]) == {""}


def test_errors_are_those_of_the_metrics_on_the_test_rows():
    table = fit_table().query("seed == 3").set_index(["mode", "scheme", "metric", "time"])["value"]
    clouds = DATA.clouds(0, "test")
    for k, time in ((0, 0.5), (1, 1.25)):
        for mode, start in (("one_step", clouds[k]), ("rollout", clouds[0])):
            # Predictions are made in float32.
            expected = metrics.w1(start, clouds[k + 1])
            assert table[mode, "implicit", "w1", time] == pytest.approx(expected, rel=1e-5)
            expected = metrics.bw2_uvp(start, clouds[k + 1])
            assert table[mode, "implicit", "bw2_uvp", time] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.nan, "the prediction is not finite"),
        (np.inf, "the prediction is not finite"),
        (1e9, "the prediction diverged, beyond 100 times the extent of all snapshots"),
    ],
)
def test_a_prediction_that_ran_away_is_a_reason_and_no_number(value, reason):
    steps = [cloud.copy() for cloud in DATA.clouds(0, "test")[:-1]]
    steps[1][4, 1] = value
    modes = [("one_step", "explicit"), ("one_step", "implicit"), ("rollout", "implicit")]
    found = dict.fromkeys(modes, steps)
    numbers = evaluation.evaluate_fit(
        DATA, [zero_energy()] * 2, [found] * 2, ["ok", "ok"], "implicit", "mine"
    )
    table = frame(numbers)
    late = table[table["time"] == 1.25]
    assert late["value"].isna().all() and late["reason"].str.startswith(reason).all()
    early = table[table["time"] == 0.5]
    assert np.isfinite(early["value"]).all() and (early["reason"] == "").all()


def test_a_simulation_that_ran_away_has_a_reason_and_no_numbers():
    data = simulate_snapshots(SIMULATION | {"seeds": [0, 1]}, lambda line: None)
    x = data.x.copy()
    x[data.rows(0, "train", 2)[0]] *= 1e6
    table = frame(evaluation.evaluate_references(dataclasses.replace(data, x=x)))
    table = table[table["metric"].isin(evaluation.CLOUD_METRICS)]
    first = table["seed"] == 0
    reason = "the data run away, beyond 100 times the median extent of a snapshot"
    assert table[first]["value"].isna().all() and (table[first]["reason"] == reason).all()
    assert np.isfinite(table[~first]["value"]).all() and first.sum() == (~first).sum()
    # The others are still measured by their own extent.
    moved = [np.full_like(cloud, 1e3) for cloud in data.clouds(1, "test")[:-1]]
    assert "diverged" in evaluation.lost(moved[0], "explicit", dataclasses.replace(data, x=x), 1)


def test_an_implicit_step_that_was_not_found_is_named_as_such():
    steps = [np.full_like(cloud, np.nan) for cloud in DATA.clouds(0, "test")[:-1]]
    keys = [("one_step", "implicit"), ("one_step", "explicit"), ("rollout", "implicit")]
    found = dict.fromkeys(keys, steps)
    table = frame(
        evaluation.evaluate_fit(
            DATA, [zero_energy()] * 2, [found] * 2, ["ok", "ok"], "implicit", "mine"
        )
    )
    table = table[table["mode"] == "one_step"].set_index("scheme")
    assert table["value"].isna().all()
    assert table.loc["implicit", "reason"].str.startswith("no implicit step was found").all()
    assert (table.loc["explicit", "reason"] == "the prediction is not finite").all()


def test_a_reference_that_does_not_vary_is_a_reason_and_no_number():
    data, _ = followed(lambda x, k: 0 * x, n=10, steps=1)
    table = frame(evaluation.evaluate_references(data))
    bures = table[table["metric"] == "bw2_uvp"]
    assert bures["value"].isna().all() and set(bures["reason"]) == {"bw2_uvp is not finite"}
    assert np.isfinite(table[table["metric"] == "w1"]["value"]).all()


def reference_values(data, s=0) -> pd.Series:
    table = frame(evaluation.evaluate_references(data))
    assert (table["reason"] == "").all() and np.isfinite(table["value"]).all()
    table = table[table["seed"] == data.seed[s]]
    return table.set_index(["method", "mode", "scheme", "metric", "time"])["value"]


def test_identity_and_mean_shift_by_hand():
    values = reference_values(DATA)
    train, test = DATA.clouds(0, "train"), DATA.clouds(0, "test")
    shift = [train[k + 1].mean(axis=0) - train[k].mean(axis=0) for k in (0, 1)]
    for k, time in ((0, 0.5), (1, 1.25)):
        here = ("none", "w1", time)
        assert values["identity", "one_step", *here] == metrics.w1(test[k], test[k + 1])
        assert values["identity", "rollout", *here] == metrics.w1(test[0], test[k + 1])
        moved = metrics.w1(test[k] + shift[k], test[k + 1])
        assert values["mean_shift", "one_step", *here] == pytest.approx(moved, rel=1e-12)
        far = metrics.w1(test[0] + sum(shift[: k + 1]), test[k + 1])
        assert values["mean_shift", "rollout", *here] == pytest.approx(far, rel=1e-12)
    assert not {"oracle", "zero_energy"} & set(values.index.get_level_values("method"))


def test_the_sampling_floor_is_a_sample_of_the_next_train_snapshot(monkeypatch):
    """Its clouds are rows of train k+1, without repetition, as many as test k or all of them."""
    seen = []

    def spy(x, y):
        seen.append((x, y))
        return 0.0

    monkeypatch.setattr(evaluation, "CLOUD_METRICS", {"w1": spy})
    numbers = list(evaluation.evaluate_references(DATA))
    floor = [
        pair
        for number, pair in zip(numbers, seen, strict=True)
        if number.method == "sampling_floor"
    ]
    assert len(floor) == 4
    for index, (sample, target) in enumerate(floor):
        s, k = divmod(index, 2)
        train, test = DATA.cloud(s, "train", k + 1), DATA.clouds(s, "test")
        np.testing.assert_array_equal(target, test[k + 1])
        assert len(sample) == min(len(test[k]), len(train))
        rows = set(map(tuple, sample))
        assert len(rows) == len(sample) and rows <= set(map(tuple, train))


def test_references_read_of_the_test_rows_what_they_predict_from_and_no_more():
    """The floor's own sample does not move when test rows do: its distance to them does."""
    data = observed(seeds=(0,))
    clean, wild = reference_values(data), reference_values(poisoned(data))
    floor = ("sampling_floor", "one_step", "none", "w1", 0.5)
    assert wild[floor] > 100 * clean[floor]


def test_the_oracle_is_near_the_floor_and_knows_the_gradient():
    values = reference_values(SIMULATED)
    for time in SIMULATED.time[1:]:
        floor = values["sampling_floor", "one_step", "none", "w1", time]
        oracle = values["oracle", "one_step", "explicit", "w1", time]
        assert 0.5 * floor < oracle < 1.5 * floor
        assert oracle < values["identity", "one_step", "none", "w1", time]
    truth = Energy(static(POTENTIALS["oakley_ohagan"]))
    learned = fit_table(SIMULATED, truth).query("metric == 'l2_uvp'")
    assert list(learned["time"]) == SIMULATED.time[1:].tolist() and (learned["value"] == 0).all()
    assert set(learned["mode"]) == {"fit"} and set(learned["scheme"]) == {"implicit"}


def test_the_zero_energy_has_the_size_of_the_true_gradient():
    values = reference_values(SIMULATED)
    for k, time in enumerate(SIMULATED.time[1:]):
        x = SIMULATED.cloud(0, "test", k + 1)
        gradient = 5 * (np.cos(x) - np.sin(x) + 2 * x + 1)
        variance = np.trace(np.cov(SIMULATED.cloud(0, "test", k), rowvar=False))
        expected = 100 * TAU**2 * np.mean(np.sum(gradient**2, axis=1)) / variance
        found = values["zero_energy", "fit", "none", "l2_uvp", time]
        assert found == pytest.approx(expected, rel=1e-4)


def test_the_implicit_oracle_stands_where_v_alone_drives_the_data():
    values = reference_values(SIMULATED)
    for k, time in enumerate(SIMULATED.time[1:]):
        cloud = SIMULATED.cloud(0, "test", k)
        truth = evaluation.true_energy(SIMULATED.truth)
        expected = metrics.implicit_l2_uvp(truth, cloud, SIMULATED.time[k], TAU)
        for metric in ("l2_uvp", "l2_uvp_drift"):
            assert values["implicit_oracle", "fit", "implicit", metric, time] == expected > 0
    noisy = dataclasses.replace(SIMULATED, truth=Truth("oakley_ohagan", None, 0.1))
    assert "implicit_oracle" not in reference_values(noisy).index.get_level_values("method")


def test_a_map_is_a_scheme_of_its_own_also_where_a_seed_failed():
    energy, transport = zero_energy(), Partial(lambda x, k: x + 1)
    predictions = [predict(energy, DATA, 0, "implicit", transport), None]
    numbers = evaluation.evaluate_fit(
        DATA, [energy, None], predictions, ["ok", "no"], "implicit", "mine"
    )
    table = frame(numbers).query("scheme == 'map'")
    assert set(table["mode"]) == {"one_step"} and len(table) == 2 * 2 * 3
    good = table.query("seed == 3 and metric == 'w1'").set_index("time")["value"]
    clouds = DATA.clouds(0, "test")
    for k, time in ((0, 0.5), (1, 1.25)):
        assert good[time] == pytest.approx(metrics.w1(clouds[k] + 1, clouds[k + 1]), rel=1e-5)
    assert set(table.query("seed == 8")["reason"]) == {"no"}


INTERACTING = {
    "potential": "flat", "interaction": "zigzag_ridge", "beta": 0.0, "dimension": 2, "n_train": 40,
    "n_test": 40, "steps": 1, "tau": TAU, "substeps": 1, "pairing": "unpaired", "seeds": [0],
    "initial": {"law": "uniform", "low": -1.0, "high": 1.0},
}  # fmt: skip


def test_an_interaction_is_measured_and_so_is_its_even_part():
    data = simulate_snapshots(INTERACTING)
    values = reference_values(data)
    rest = ("fit", "none", "l2_uvp_interaction", data.time[1])
    even, zero = (values[name, *rest] for name in ("even_oracle", "zero_energy"))
    cloud = np.asarray(data.cloud(0, "test", 1), np.float32)
    apart = cloud[:, None] - cloud[None, :]
    kernel = POTENTIALS["zigzag_ridge"]
    force = jax.vmap(jax.vmap(jax.grad(kernel)))(apart).mean(axis=1)
    # The odd part has the even half of the gradient.
    odd = (force + jax.vmap(jax.vmap(jax.grad(kernel)))(-apart).mean(axis=1)) / 2
    unit = 100 * TAU**2 / np.trace(np.cov(data.cloud(0, "test", 0), rowvar=False))
    assert zero == pytest.approx(unit * float(jnp.mean(jnp.sum(force**2, axis=1))), rel=1e-3)
    assert even == pytest.approx(unit * float(jnp.mean(jnp.sum(odd**2, axis=1))), rel=1e-3)
    # V is flat, and W the whole of the drift.
    whole = ("fit", "none", "l2_uvp_drift", data.time[1])
    assert values["zero_energy", *whole] == pytest.approx(zero, rel=1e-6)
    assert values["even_oracle", *whole] == pytest.approx(even, rel=1e-6)
    truth = evaluation.true_energy(data.truth)
    learned = fit_table(data, truth).query("metric == 'l2_uvp_interaction'")["value"]
    assert learned.tolist() == [0.0]


def test_a_trace_has_the_mean_over_times_after_every_epoch_that_was_kept():
    truth = evaluation.true_energy(SIMULATED.truth)
    kept = {8: [truth], 1: [zero_energy()]}
    found = evaluation.trace(SIMULATED, kept, ["ok"], "explicit")
    references = frame(evaluation.evaluate_references(SIMULATED))
    zero = references.query("method == 'zero_energy' and metric == 'l2_uvp'")["value"].mean()
    assert found["epoch"].tolist() == [1, 8] and set(found["metric"]) == {"l2_uvp"}
    assert found["value"].tolist() == [pytest.approx(zero), 0.0]
    failed = evaluation.trace(SIMULATED, {2: [None]}, ["diverged at step 3"], "implicit")
    assert np.isnan(failed["value"].item()) and failed["reason"].item() == "diverged at step 3"
    assert evaluation.trace(DATA, kept, ["ok"], "implicit").empty


def test_a_trace_leaves_out_a_learned_interaction_where_v_alone_is_true():
    def forbidden(z):
        raise AssertionError("its force takes particles squared")

    truth = evaluation.true_energy(SIMULATED.truth)
    learned = truth._replace(interaction=Partial(forbidden))
    assert evaluation.trace(SIMULATED, {1: [learned]}, ["ok"], "explicit")["value"].item() == 0


def test_beta_is_one_number_of_the_learned_energy_and_of_the_references():
    data = dataclasses.replace(SIMULATED, truth=Truth("oakley_ohagan", None, 0.3))
    learned = fit_table(data, zero_energy()._replace(beta=jnp.float32(0.25))).query(
        "metric == 'beta'"
    )
    assert learned["value"].tolist() == [0.25] and learned["time"].isna().all()
    assert set(learned["mode"]) == {"fit"} and set(learned["scheme"]) == {"implicit"}
    references = frame(evaluation.evaluate_references(data)).query("metric == 'beta'")
    assert dict(zip(references["method"], references["value"], strict=True)) == {
        "oracle": 0.3,
        "zero_energy": 0.0,
    }
    broken = fit_table(data, zero_energy()._replace(beta=jnp.float32(jnp.nan)))
    assert broken.query("metric == 'beta'")["reason"].tolist() == ["beta is not finite"]


def test_what_is_both_one_step_ahead_and_rolled_out_is_measured_once(monkeypatch):
    measured = []
    w1 = evaluation.CLOUD_METRICS["w1"]

    def counted(predicted, reference):
        measured.append(predicted)
        return w1(predicted, reference)

    monkeypatch.setitem(evaluation.CLOUD_METRICS, "w1", counted)
    table = fit_table().query("metric == 'w1' and reason == ''")
    intervals = len(DATA.tau)
    assert (len(table), len(measured)) == (3 * intervals, 3 * intervals - 1)
    first = table[table["time"] == table["time"].min()].query("scheme == 'implicit'")
    assert set(first["mode"]) == {"one_step", "rollout"} and first["value"].nunique() == 1


def test_the_oracle_takes_the_steps_that_made_the_data():
    """|x|^2 / 2 without noise shrinks a cloud by 1 - tau / m in each of m substeps."""
    data = simulate_snapshots(INTERACTING | {"potential": "flat", "interaction": "quadratic"})
    for substeps in (1, 4):
        truth = Truth("flat", "quadratic", 0.0, substeps)
        fine = dataclasses.replace(data, truth=truth)
        clouds = evaluation._oracle(evaluation.true_energy(truth), fine, 0)
        start = fine.cloud(0, "test", 0)
        expected = start.mean(0) + (1 - TAU / substeps) ** substeps * (start - start.mean(0))
        for mode in ("one_step", "rollout"):
            assert len(clouds[mode]) == len(data.time) - 1
            np.testing.assert_allclose(clouds[mode][0], expected, atol=1e-6)


def test_the_oracle_draws_new_noise_in_every_substep():
    """Of two intervals of two substeps at rest under noise, all four increments differ."""
    data = simulate_snapshots(INTERACTING | {"potential": "flat", "steps": 2, "interaction": None})
    truth = Truth("flat", None, 0.5, 2)
    fine = dataclasses.replace(data, truth=truth)
    clouds = evaluation._oracle(evaluation.true_energy(truth), fine, 0)
    first = clouds["one_step"][0] - fine.cloud(0, "test", 0)
    second = clouds["one_step"][1] - fine.cloud(0, "test", 1)
    # The rollout sees the same noise, as it does with one substep.
    np.testing.assert_allclose(clouds["rollout"][0], clouds["one_step"][0])
    np.testing.assert_allclose(clouds["rollout"][1] - clouds["rollout"][0], second, atol=1e-6)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.4
    # 2 tau beta, from two substeps; one noise taken twice would double it.
    assert np.var([first, second]) == pytest.approx(2 * TAU * 0.5, rel=0.35)


def test_the_implicit_oracle_needs_data_that_one_step_made():
    fine = dataclasses.replace(SIMULATED, truth=Truth("oakley_ohagan", None, 0.0, 2))
    assert "implicit_oracle" not in reference_values(fine).index.get_level_values("method")


def test_a_failed_seed_has_no_gradient_error_either():
    data, _ = followed(lambda x, k: x, n=5, steps=1, seeds=(0, 1), truth=Truth("flat", None, 0.0))
    failed = fit_table(data).query("seed == 1 and metric == 'l2_uvp'")
    assert len(failed) == 1 and np.isnan(failed["value"].item())
    assert failed["reason"].item() == "diverged at step 512"


def test_the_true_energy_has_all_terms_of_the_simulation():
    energy = evaluation.true_energy(Truth("flowers", "quadratic", 0.3))
    x = np.array([0.4, -2.0], np.float32)
    assert energy.potential(x, 0.0) == POTENTIALS["flowers"](x)
    assert energy.interaction(x) == pytest.approx(2.08) and energy.beta == 0.3
    assert evaluation.true_energy(Truth("flowers", None, 0.0)).interaction is None
    with pytest.raises(ValueError, match="unknown potential 'moon'"):
        evaluation.true_energy(Truth("moon", None, 0.0))


def test_a_posterior_has_its_own_rows_and_a_failed_seed_their_reasons():
    data, _ = followed(lambda x, k: x, n=40, steps=2, seeds=(0, 1), truth=Truth("flat", None, 0.0))
    truth = evaluation.true_energy(data.truth)
    sure = Uncertainty(Partial(lambda x, t: jnp.eye(x.size)), beta=0.3, beta_deviation=0.1)
    numbers = evaluation.evaluate_fit(
        data,
        [truth, None],
        [predict(truth, data, 0, "explicit"), None],
        ["ok", "not solved"],
        "explicit",
        "mine",
        uncertainties=[sure, None],
    )
    table = frame(numbers).set_index(["seed", "metric"]).sort_index()
    assert (table.loc[(0, "gradient_coverage"), "value"] == 1).all()
    assert table.loc[(0, "beta_free"), "value"].tolist() == [0.3]
    # beta is 0 there, three deviations away.
    assert table.loc[(0, "beta_coverage"), "value"].tolist() == [0]
    assert (table.loc[(0, "l2_uvp_expected"), "value"] > 0).all()
    for metric in ("gradient_coverage", "l2_uvp_expected"):
        failed = table.loc[(1, metric)]
        assert failed["value"].isna().all() and (failed["reason"] == "not solved").all()
        assert len(failed) == len(data.tau)
    for metric in ("beta_free", "beta_deviation", "beta_coverage"):
        failed = table.loc[[(1, metric)]]
        assert failed["value"].isna().all() and failed["reason"].tolist() == ["not solved"]


def test_the_numbers_of_a_whole_fit_are_rows_and_a_failed_seed_has_the_reason():
    data, _ = followed(lambda x, k: x, n=40, steps=2, seeds=(0, 1))
    energy, summaries = zero_energy(), {"rank": [3.0, np.nan], "condition": [np.inf, np.nan]}
    numbers = evaluation.evaluate_fit(
        data,
        [energy, None],
        [predict(energy, data, 0, "explicit"), None],
        ["ok", "not solved"],
        "explicit",
        "mine",
        summaries=summaries,
    )
    table = frame(numbers).set_index(["metric", "seed"]).loc[["rank", "condition"]]
    np.testing.assert_array_equal(table["value"], [3.0, np.nan, np.nan, np.nan])
    reasons = ["", "not solved", "condition is not finite", "not solved"]
    assert table["reason"].tolist() == reasons and (table["mode"] == "fit").all()


def test_a_posterior_without_an_entropy_has_no_rows_of_beta():
    data, _ = followed(lambda x, k: x, n=40, steps=2, seeds=(0, 1), truth=Truth("flat", None, 0.0))
    truth = evaluation.true_energy(data.truth)
    sure = Uncertainty(Partial(lambda x, t: jnp.eye(2)))
    predicted = [predict(truth, data, 0, "explicit"), None]
    fit = data, [truth, None], predicted, ["ok", "not solved"], "explicit", "mine"
    found = set(frame(evaluation.evaluate_fit(*fit, uncertainties=[sure, None]))["metric"])
    assert "l2_uvp_expected" in found and not {"beta_free", "beta_coverage"} & found
    # No seed says whether beta was learned: its rows are there, and not lost.
    lost = data, [None, None], [None, None], ["not solved"] * 2, "explicit", "mine"
    rows = frame(evaluation.evaluate_fit(*lost, uncertainties=[None, None]))
    assert (rows.query("metric == 'beta_free'")["reason"] == "not solved").sum() == 2
