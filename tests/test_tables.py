"""Tables: means over seeds against numbers worked out by hand, and failures that stay visible."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jko import readable, tables
from measured import (
    DAYS,
    METHODS,
    cells_metrics,
    cells_table,
    landscape_metrics,
    landscape_table,
    one,
    row,
)


def test_rows_stand_in_config_order_with_both_schemes_then_the_references():
    pairs = list(dict.fromkeys(zip(cells_table()["method"], cells_table()["scheme"], strict=True)))
    assert pairs == [
        ("mlp", "implicit"),
        ("mlp", "explicit"),
        ("mlp_explicit", "explicit"),
        ("floor", "none"),
        ("identity", "none"),
    ]
    intervals = list(dict.fromkeys(cells_table()["interval"]))
    assert intervals == ["0-3 to 6-9", "6-9 to 12-15", tables.MEAN]


@pytest.mark.parametrize(
    ("interval", "mean", "std"),
    [
        ("0-3 to 6-9", 2.0, np.sqrt(2.0)),  # 1, 3
        ("6-9 to 12-15", 3.5, np.sqrt(4.5)),  # 2, 5
        (tables.MEAN, 2.75, np.sqrt(3.125)),  # 1.5, 4
    ],
)
def test_means_are_over_the_good_seeds_alone(interval, mean, std):
    found = one(cells_table(), method="mlp", scheme="implicit", interval=interval)
    assert found["mean"] == pytest.approx(mean)
    assert found["std"] == pytest.approx(std)
    assert (found["n"], found["n_failed"]) == (2, 1)
    assert found["reason"] == "seed 2: diverged at step 512"


def test_the_mean_over_intervals_of_a_seed_needs_all_its_intervals():
    first = one(cells_table(), method="mlp_explicit", interval="0-3 to 6-9")
    assert (first["mean"], first["n"], first["n_failed"]) == (4.0, 1, 2)
    assert np.isnan(first["std"])
    overall = one(cells_table(), method="mlp_explicit", interval=tables.MEAN)
    assert np.isnan(overall["mean"])
    assert (overall["n"], overall["n_failed"]) == (0, 3)
    assert overall["reason"] == "seed 0, 1, 2: no row in the metrics"


def test_a_method_without_rows_is_shown_without_a_number():
    floor = one(cells_table(), method="floor", interval=tables.MEAN)
    assert np.isnan(floor["mean"])
    assert (floor["n"], floor["n_failed"]) == (0, 3)
    assert floor["reason"] == "seed 0, 1, 2: no row in the metrics"


def test_an_infinite_value_counts_as_failed():
    metrics = cells_metrics()
    metrics.loc[(metrics["method"] == "identity") & (metrics["seed"] == 1), "value"] = np.inf
    found = one(
        tables.intervals(metrics, "cells", METHODS, ["identity"], DAYS),
        method="identity",
        interval=tables.MEAN,
    )
    assert (found["mean"], found["n"], found["reason"]) == (7.0, 2, "seed 1: not a finite number")


def test_two_values_for_one_cell_are_an_error():
    metrics = pd.concat([cells_metrics(), cells_metrics().query("method == 'identity'")])
    with pytest.raises(ValueError, match=r"two values of w1 for cells, identity, none, seed \d"):
        tables.intervals(metrics, "cells", METHODS, ["identity"], DAYS)


def test_errors_name_the_dataset_and_the_labels():
    with pytest.raises(ValueError, match="no one_step w1 of dataset 'absent'"):
        tables.intervals(cells_metrics(), "absent", METHODS, [], DAYS)
    with pytest.raises(ValueError, match="2 snapshot labels .* 3 are needed"):
        tables.intervals(cells_metrics(), "cells", METHODS, [], DAYS[:2])


def test_landscape_errors_by_hand():
    table = landscape_table()
    assert set(table["landscape"]) == {"flowers"}
    assert set(table["pairing"]) == {"paired"}
    w1 = one(table, method="mlp", metric="w1")
    # The seeds have 1.15 and 2.15, and their oracles 0.65 and 2.65.
    assert (w1["mean"], w1["std"]) == (pytest.approx(1.65), pytest.approx(np.sqrt(0.5)))
    excess = one(table, method="mlp", metric="w1_excess")
    assert (excess["mean"], excess["std"]) == (pytest.approx(0.0), pytest.approx(np.sqrt(0.5)))
    assert one(table, method="oracle", metric="w1_excess")["mean"] == 0.0
    # An energy stands under the scheme that it was learned with.
    learned = one(table, method="mlp", metric="l2_uvp")
    assert (learned["scheme"], learned["mean"]) == ("implicit", pytest.approx(1e-4))
    assert one(table, method="zero_energy", metric="l2_uvp")["mean"] == pytest.approx(0.2)
    assert tables.select(table, method="oracle", metric="l2_uvp").empty


def test_a_search_shows_every_candidate_by_its_own_scheme_and_the_references():
    candidates = {
        "mlp": {"method": "mlp", "candidate": "epochs 5", "scheme": "implicit"},
        "mlp_explicit": {"method": "mlp", "candidate": "epochs 7", "scheme": "explicit"},
    }
    metrics = pd.concat([cells_metrics(), landscape_metrics()])
    table = tables.search(metrics, ["cells", "flowers_paired"], candidates)
    cells = tables.select(table, dataset="cells", metric="w1")
    found = list(zip(cells["method"], cells["candidate"], cells["scheme"], strict=True))
    # mlp was predicted explicitly, too; that is no row of a search.
    assert found == [("mlp", "epochs 5", "implicit"), ("mlp", "epochs 7", "explicit")]
    assert one(cells, candidate="epochs 5")["mean"] == pytest.approx((1.5 + 4.0) / 2)
    assert (
        one(table, dataset="flowers_paired", metric="l2_uvp", candidate="epochs 5")["mean"] == 1e-4
    )
    assert one(table, metric="w1_excess", method="oracle")["mean"] == 0.0
    text = readable.sections(
        table, {"w1": "EMD", "l2_uvp": "L2-UVP"}, ["method", "candidate", "scheme"], ["dataset"]
    )
    assert "### EMD" in text and "| mlp | epochs 5 | implicit |" in text
    assert "cells, mlp, epochs 7, explicit, w1" in text


def test_an_excess_without_oracle_says_so():
    metrics = landscape_metrics()
    metrics.loc[(metrics["method"] == "oracle") & (metrics["seed"] == 1), "value"] = np.nan
    table = tables.landscapes(metrics, ["flowers_paired"], {"mlp": METHODS["mlp"]}, ["oracle"])
    excess = one(table, method="mlp", metric="w1_excess")
    assert (excess["n"], excess["reason"]) == (1, "seed 1: no oracle to compare with")
    assert one(table, method="mlp", metric="w1")["n"] == 2


@pytest.mark.parametrize("dataset", ["flowers", "flowers_both", "_paired"])
def test_a_dataset_name_without_pairing_is_an_error(dataset):
    with pytest.raises(ValueError, match="must be named"):
        tables.landscapes(landscape_metrics(), [dataset], METHODS, [])


def test_metrics_are_read_back_with_empty_cells(tmp_path):
    path = tmp_path / "metrics.tsv"
    landscape_metrics().assign(value=lambda f: f["value"].where(f["method"] != "oracle")).to_csv(
        path, sep="\t", index=False
    )
    for found in (tables.read_metrics(path), tables.read_metrics([path])):
        assert found["time"].isna().sum() == 6
        assert found["value"].isna().sum() == 4
        assert set(found["reason"]) == {""}
        assert found["seed"].dtype == int
    landscape_metrics().drop(columns="reason").to_csv(path, sep="\t", index=False)
    with pytest.raises(ValueError, match=r"columns \['reason'\] are missing"):
        tables.read_metrics(path)


def test_summary_says_what_was_left_out(tmp_path):
    kinds = {"cells": "embryoid", "mine": "h5ad"}
    table = tables.summary(kinds, {"cells": (5, 16819, 5)}, {"mine": "no file a|b"})
    paths = tmp_path / "summary.tsv", tmp_path / "summary.md"
    readable.write(table, readable.markdown(table), *paths)
    assert paths[0].read_text().splitlines()[1:] == [
        "cells\tembryoid\tok\t\t5\t16819\t5",
        "mine\th5ad\tleft out\tno file a|b\tnan\tnan\tnan",
    ]
    last = paths[1].read_text().splitlines()[-1]
    assert last == r"| mine | h5ad | left out | no file a\|b |  |  |  |"


@pytest.mark.parametrize("left_out", [{}, {"cells": "why", "mine": "why"}])
def test_a_dataset_is_made_or_left_out(left_out):
    with pytest.raises(ValueError, match="either made or left out"):
        tables.summary({"cells": "embryoid", "mine": "h5ad"}, {"cells": (5, 9, 2)}, left_out)
