"""Terms of the energy over a grid: numbers worked out by hand, and no fit that is lost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jko import readable
from jko.tables import terms
from measured import METHODS, one, row

KEYS = {
    "a": {"potential": "flowers", "interaction": "relu", "beta": 0.1},
    "b": {"potential": "sphere", "interaction": "relu", "beta": 0.1},
    "c": {"potential": "sphere", "interaction": "flat", "beta": 0.2},
}
EXCLUDED = {
    "d": {
        "potential": "beale", "interaction": "flat", "beta": 0.2, "seeds": [0, 1],
        "reason": "runs away",
    }
}  # fmt: skip
METHOD = {"mlp": METHODS["mlp"]}


def metrics() -> pd.DataFrame:
    """Two seeds and two times; dataset a has errors of one, b of two and c of three;
    seed 1 of c failed.
    """
    rows = []
    for size, name in enumerate(KEYS, start=1):
        for seed in (0, 1):
            lost = name == "c" and seed == 1
            why = "diverged at step 9" if lost else ""
            for time, move in ((0.1, 0.5), (0.2, -0.5)):
                fit = (name, "mlp", seed, "implicit")
                scales = {"l2_uvp": 1.0, "l2_uvp_interaction": 10.0, "l2_uvp_drift": 20.0}
                for metric, scale in scales.items():
                    value = np.nan if lost else scale * size + move
                    rows.append(row(*fit, metric, time, value, why, mode="fit"))
                    zero = (name, "zero_energy", seed, "none", metric, time, 100.0 * scale)
                    rows.append(row(*zero, mode="fit"))
                value = np.nan if lost else 2.0 * size + seed + move
                rows.append(row(*fit, "w1", time, value, why))
                rows.append(row(name, "oracle", seed, "explicit", "w1", time, 2.0 + move))
                # The prediction by the other scheme is no row of the table.
                rows.append(row(name, "mlp", seed, "explicit", "w1", time, 99.0))
            value = np.nan if lost else 0.1 * size + 0.02 * seed
            fit = (name, "mlp", seed, "implicit", "beta", np.nan, value, why)
            rows.append(row(*fit, mode="fit"))
            rows.append(row(name, "oracle", seed, "none", "beta", np.nan, 7.0, mode="fit"))
    return pd.DataFrame(rows)


def table(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    rows = metrics() if rows is None else rows
    return terms.of_grid(rows, KEYS, METHOD, ["zero_energy"], EXCLUDED)


def test_a_row_is_the_mean_over_times_of_one_seed():
    found = table()
    wanted = "potential interaction beta method seed metric value status".split()
    assert list(found) == wanted
    at = {"potential": "sphere", "interaction": "relu", "beta": 0.1, "method": "mlp", "seed": 1}
    values = {
        metric: one(found, **at, metric=metric)["value"] for metric in (*terms.METRICS, "w1_oracle")
    }
    assert values == pytest.approx(
        {
            "l2_uvp_potential": 2.0,
            "l2_uvp_interaction": 20.0,
            "l2_uvp_drift": 40.0,
            "beta_hat": 0.22,
            "w1": 5.0,
            "w1_oracle": 2.0,
        }
    )
    assert set(found["method"]) == {"mlp", "zero_energy"}
    zero = found[found["method"] == "zero_energy"]
    assert set(zero["metric"]) == {"l2_uvp_potential", "l2_uvp_interaction", "l2_uvp_drift"}


def test_no_fit_is_lost_and_every_row_has_a_number_or_a_cause():
    found = table()
    fits = found[found["method"] == "mlp"]
    # Four combinations, two seeds, six metrics.
    assert len(fits) == 4 * 2 * 6 and not fits.duplicated(terms.COLUMNS[:6]).any()
    assert ((found["status"] == "ok") == np.isfinite(found["value"])).all()
    failed = fits.query("interaction == 'flat' and potential == 'sphere' and seed == 1")
    oracle = failed["metric"] == "w1_oracle"
    assert set(failed.loc[~oracle, "status"]) == {"diverged at step 9"}
    assert failed.loc[oracle, "value"].tolist() == [2.0]
    assert set(fits.query("potential == 'beale'")["status"]) == {"runs away"}


def test_a_metric_that_was_not_measured_is_an_error():
    rows = metrics().query("not (dataset == 'b' and metric == 'beta')")
    with pytest.raises(ValueError, match="the metrics hold no beta of dataset 'b'"):
        table(rows)
    with pytest.raises(ValueError, match="the metrics hold no l2_uvp of dataset 'c'"):
        table(metrics().query("dataset != 'c'"))


def test_statistics_are_of_cells_and_of_single_fits():
    found = terms.by_beta(table())
    potential = one(found, method="mlp", beta=0.1, metric="l2_uvp_potential")
    # The cells have 1 and 2.
    assert (potential["median"], potential["low"], potential["high"]) == (1.5, 1.25, 1.75)
    beta = one(found, method="mlp", beta=0.1, metric="beta_hat")
    fits = [0.1, 0.12, 0.2, 0.22]
    assert beta["mean"] == pytest.approx(np.mean(fits))
    assert beta["std"] == pytest.approx(np.std(fits, ddof=1))
    assert (beta["cells"], beta["n"], beta["n_failed"]) == (2, 4, 0)
    ratio = one(found, method="mlp", beta=0.1, metric="w1_ratio")
    # The seeds of the cells have 2 / 2 and 3 / 2, 4 / 2 and 5 / 2.
    assert ratio["median"] == pytest.approx(np.mean([1.25, 2.25]))
    # Of c seed 0 alone is good, and the cell that has no dataset counts as failed.
    late = one(found, method="mlp", beta=0.2, metric="w1_ratio")
    assert (late["median"], late["cells"], late["n"], late["n_failed"]) == (3.0, 1, 1, 3)
    assert set(found.query("method == 'zero_energy'")["metric"]) == {
        "l2_uvp_potential", "l2_uvp_interaction", "l2_uvp_drift"
    }  # fmt: skip


def test_the_text_shows_medians_and_every_cause_once():
    found = table()
    text = readable.terms(terms.by_beta(found), terms.causes(found))
    assert "| mlp | 1.500 (1.250 to 1.750) | 3.000 (3.000 to 3.000) (3 failed) |" in text
    assert "| mlp | 0.160 ± 0.059 | 0.300 (3 failed) |" in text
    assert "| zero_energy | 100.000 (100.000 to 100.000) | 100.000 (100.000 to 100.000) |" in text
    assert "- mlp, 1 fits (sphere with flat): diverged at step 9" in text
    assert "- mlp, 2 fits (beale with flat): runs away" in text
    whole = terms.of_grid(metrics(), {"a": KEYS["a"]}, METHOD, [], {})
    assert "Not in the statistics" not in readable.terms(terms.by_beta(whole), terms.causes(whole))
