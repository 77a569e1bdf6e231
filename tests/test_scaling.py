"""Errors and seconds by dimension and particles: numbers worked out by hand, and none lost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jko import readable
from jko.tables import scaling
from measured import METHODS, one, row

KEYS = {
    "small": {"potential": "flowers", "dimension": 4, "particles": 100},
    "large": {"potential": "flowers", "dimension": 25, "particles": 200},
}
METHOD = {"mlp": METHODS["mlp"]}
COSTS = {
    ("small", "mlp"): {"train_seconds": 3.0, "couple_seconds": 0.5, "couple_mb": np.nan},
    ("large", "mlp"): {"train_seconds": 9.0, "couple_seconds": 2.5, "couple_mb": 80.0},
}


def metrics() -> pd.DataFrame:
    """Two seeds and two times: w1 is 6 and 8 on small, 10 on large, where seed 1 failed."""
    rows = []
    for name, errors in {"small": (6.0, 8.0), "large": (10.0, np.nan)}.items():
        for seed, error in enumerate(errors):
            why = "" if np.isfinite(error) else "diverged at step 9"
            for time, move in ((0.1, 1.0), (0.2, -1.0)):
                fit = (name, "mlp", seed, "implicit")
                rows.append(row(*fit, "w1", time, error + move, why))
                rows.append(row(*fit, "l2_uvp", time, error / 10, why, mode="fit"))
                # The prediction by the other scheme is no row of the table.
                rows.append(row(name, "mlp", seed, "explicit", "w1", time, 99.0))
                rows.append(row(name, "identity", seed, "none", "w1", time, 50.0))
    return pd.DataFrame(rows)


def table(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    rows = metrics() if rows is None else rows
    return scaling.of_grid(rows, KEYS, METHOD, ["identity"], COSTS)


def test_a_row_is_the_mean_over_times_of_one_seed_or_a_whole_job():
    found = table()
    assert list(found) == scaling.COLUMNS
    of_seed = {"dataset": "small", "dimension": 4, "particles": 100, "method": "mlp", "seed": 1}
    assert one(found, **of_seed, metric="w1")["value"] == pytest.approx(8.0)
    assert one(found, **of_seed, metric="w1_per_sqrt_d")["value"] == pytest.approx(4.0)
    assert one(found, **of_seed, metric="l2_uvp")["value"] == pytest.approx(0.8)
    job = one(found, dataset="large", metric="train_seconds", seed=scaling.ALL_SEEDS)
    assert (job["method"], job["value"], job["reason"]) == ("mlp", 9.0, "")
    far = one(found, dataset="large", method="identity", seed=0, metric="w1_per_sqrt_d")
    assert far["value"] == pytest.approx(10.0)


def test_every_row_has_a_number_or_a_reason_and_no_fit_is_lost():
    found = table()
    assert ((found["reason"] == "") == np.isfinite(found["value"])).all()
    # Two datasets; of two seeds three errors each, and three costs of the one job.
    assert len(found[found["method"] == "mlp"]) == 2 * (2 * 3 + 3)
    failed = one(found, dataset="large", method="mlp", seed=1, metric="w1_per_sqrt_d")
    assert failed["reason"] == "diverged at step 9"


def test_statistics_are_over_seeds_and_a_job_counts_once_also_when_read_back(tmp_path):
    table().to_csv(tmp_path / "scaling.tsv", sep="\t", index=False, na_rep="nan")
    read = pd.read_csv(tmp_path / "scaling.tsv", sep="\t", dtype={"seed": str})
    for found in map(scaling.summary, (table(), read.fillna({"reason": ""}))):
        error = one(found, dimension=4, method="mlp", metric="w1_per_sqrt_d")
        assert (error["mean"], error["std"]) == (pytest.approx(3.5), pytest.approx(np.sqrt(0.5)))
        lost = one(found, dimension=25, method="mlp", metric="w1")
        assert (lost["n"], lost["n_failed"]) == (1, 1)
        assert lost["reason"] == "seed 1: diverged at step 9"
        job = one(found, dimension=25, metric="couple_seconds")
        assert (job["mean"], job["n"], job["n_failed"]) == (2.5, 1, 0)


def test_the_text_has_a_section_for_each_metric_and_names_what_failed():
    layout = {"index": ["method", "particles"], "columns": ["dimension"], "by": ["potential"]}
    text = readable.sections(scaling.summary(table()), readable.TITLES, **layout)
    assert "### One-step EMD (dimensionless), flowers" in text
    assert "| mlp | 100 | 7.000 ± 1.414 | – |" in text
    assert "| mlp | 200 | – | 10.000 (1 failed) |" in text
    assert "seed 1: diverged at step 9" in text


def test_an_error_that_was_not_measured_is_an_error():
    with pytest.raises(ValueError, match="the metrics hold no one_step w1 of 'large'"):
        table(metrics().query("dataset == 'small'"))
