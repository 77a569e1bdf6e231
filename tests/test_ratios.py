"""Unpaired over paired: ratios worked out by hand, and what has none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jko.tables import STATISTICS, ratios
from measured import METHODS, one, row

KEYS = {
    f"flowers_{pairing}": {"landscape": "flowers", "pairing": pairing}
    for pairing in ("paired", "unpaired")
}


def metrics() -> pd.DataFrame:
    """l2_uvp at two times: paired 2, 4, 0 and unpaired 6, 20, 8, 8
    for seeds 0 to 3; seed 4 failed once.
    """
    rows = []
    for pairing, values in (("paired", [2.0, 4.0, 0.0]), ("unpaired", [6.0, 20.0, 8.0, 8.0])):
        for seed, value in enumerate(values):
            for time, move in ((0.1, 0.5), (0.2, -0.5)):
                number = value + move * (value > 0)
                of = (f"flowers_{pairing}", "mlp", seed, "implicit", "l2_uvp", time, number)
                rows.append(row(*of, mode="fit"))
        for time in (0.1, 0.2):
            failed = pairing == "unpaired"
            value, reason = (np.nan, "diverged at step 9") if failed else (1.0, "")
            of = (f"flowers_{pairing}", "mlp", 4, "implicit", "l2_uvp", time, value, reason)
            rows.append(row(*of, mode="fit"))
    return pd.DataFrame(rows)


def table_of(rows: pd.DataFrame, keys=KEYS) -> pd.DataFrame:
    methods = {"mlp": METHODS["mlp"]}
    return ratios.unpaired_over_paired(rows, keys, ["l2_uvp"], methods, ["zero_energy"])


def test_a_ratio_is_taken_seed_by_seed_of_means_over_times():
    table = table_of(metrics())
    assert list(table)[:4] == ["landscape", "method", "scheme", "metric"]
    assert list(table)[4:] == ["paired", "unpaired", *STATISTICS]
    found = one(table, method="mlp", scheme="implicit", metric="l2_uvp")
    # Seeds 0 and 1 have 6 / 2 and 20 / 4.
    assert (found["mean"], found["std"]) == (pytest.approx(4.0), pytest.approx(np.sqrt(2.0)))
    # The ratio of these means is another number, 13 / 3.
    assert (found["paired"], found["unpaired"]) == (pytest.approx(3.0), pytest.approx(13.0))


def test_a_seed_without_a_ratio_is_counted_with_its_reason_and_a_lone_one_is_not_compared():
    found = one(table_of(metrics()), method="mlp")
    assert (found["n"], found["n_failed"]) == (2, 2)
    assert found["reason"] == (
        "seed 2: the paired error is 0; seed 4: unpaired: diverged at step 9"
    )


def test_a_reference_has_a_ratio_where_both_datasets_measured_it():
    of = ("zero_energy", 0, "none", "l2_uvp", 0.1)
    paired = row("flowers_paired", *of, 0.5, mode="fit")
    unpaired = row("flowers_unpaired", *of, 0.25, mode="fit")
    assert "zero_energy" not in set(table_of(metrics())["method"])
    assert "zero_energy" not in set(
        table_of(pd.concat([metrics(), pd.DataFrame([paired])]))["method"]
    )
    both = pd.concat([metrics().query("time == 0.1"), pd.DataFrame([paired, unpaired])])
    assert one(table_of(both), method="zero_energy")["mean"] == pytest.approx(0.5)


def test_a_landscape_or_a_metric_that_lacks_a_side_is_an_error():
    alone = {"flowers_unpaired": KEYS["flowers_unpaired"]}
    with pytest.raises(ValueError, match="landscape 'flowers' has no paired dataset"):
        table_of(metrics(), alone)
    with pytest.raises(ValueError, match="no fit l2_uvp of dataset 'flowers_paired'"):
        table_of(metrics().query("dataset == 'flowers_unpaired'"))
