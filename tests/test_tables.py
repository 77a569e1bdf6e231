"""Tables: means over seeds against numbers worked out by hand, and failures that stay visible."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jko import readable, tables
from jko.tables import cells, errors, held_out, runs
from measured import (
    DAYS,
    FLOWERS,
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
    assert intervals == ["0-3 to 6-9", "6-9 to 12-15", cells.MEAN]


@pytest.mark.parametrize(
    ("interval", "mean", "std"),
    [
        ("0-3 to 6-9", 2.0, np.sqrt(2.0)),  # 1, 3
        ("6-9 to 12-15", 3.5, np.sqrt(4.5)),  # 2, 5
        (cells.MEAN, 2.75, np.sqrt(3.125)),  # 1.5, 4
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
    overall = one(cells_table(), method="mlp_explicit", interval=cells.MEAN)
    assert np.isnan(overall["mean"])
    assert (overall["n"], overall["n_failed"]) == (0, 3)
    assert overall["reason"] == "seed 0, 1, 2: no row in the metrics"


def test_a_method_without_rows_is_shown_without_a_number():
    floor = one(cells_table(), method="floor", interval=cells.MEAN)
    assert np.isnan(floor["mean"])
    assert (floor["n"], floor["n_failed"]) == (0, 3)
    assert floor["reason"] == "seed 0, 1, 2: no row in the metrics"


def test_an_infinite_value_counts_as_failed():
    metrics = cells_metrics()
    metrics.loc[(metrics["method"] == "identity") & (metrics["seed"] == 1), "value"] = np.inf
    found = one(
        cells.intervals(metrics, "cells", METHODS, ["identity"], DAYS),
        method="identity",
        interval=cells.MEAN,
    )
    assert (found["mean"], found["n"], found["reason"]) == (7.0, 2, "seed 1: not a finite number")


def test_two_values_for_one_cell_are_an_error():
    metrics = pd.concat([cells_metrics(), cells_metrics().query("method == 'identity'")])
    with pytest.raises(ValueError, match=r"two values of w1 for cells, identity, none, seed \d"):
        cells.intervals(metrics, "cells", METHODS, ["identity"], DAYS)


def test_errors_name_the_dataset_and_the_labels():
    with pytest.raises(ValueError, match="no one_step w1 of dataset 'absent'"):
        cells.intervals(cells_metrics(), "absent", METHODS, [], DAYS)
    with pytest.raises(ValueError, match="2 snapshot labels .* 3 are needed"):
        cells.intervals(cells_metrics(), "cells", METHODS, [], DAYS[:2])


def held_out_metrics() -> pd.DataFrame:
    """W1 of two seeds and two snapshots held out: of the reference 1, of the method 2 to 5, one lost."""
    rows = [
        ("a", "mlp", 0, "explicit", 1.0, 2.0, ""),
        ("a", "mlp", 1, "explicit", 1.0, 3.0, ""),
        ("b", "mlp", 0, "explicit", 2.0, 4.0, ""),
        ("b", "mlp", 1, "explicit", 2.0, np.nan, "diverged"),
        *(
            (d, "identity", s, "none", t, 1.0, "")
            for d, t in (("a", 1.0), ("b", 2.0))
            for s in (0, 1)
        ),
    ]
    names = "dataset method seed scheme time value reason".split()
    return pd.DataFrame(rows, columns=names).assign(mode="held_out", metric="w1", manifest="")


def test_errors_of_snapshots_held_out_by_hand():
    methods = {"mlp": {"scheme": "explicit"}}
    table = held_out.long(held_out_metrics(), ["a", "b"], methods, ["identity"])
    names = "dataset method scheme heldout seed metric value reason".split()
    assert list(table.columns) == names and len(table) == 8
    lost = one(table, dataset="b", method="mlp", seed=1)
    assert np.isnan(lost["value"]) and lost["reason"] == "diverged"
    found = held_out.summary(table, {1.0: "day 1", 2.0: "day 2"})
    first = one(found, method="mlp", heldout="day 1")
    assert (first["mean"], first["std"], first["n"]) == (2.5, pytest.approx(np.sqrt(0.5)), 2)
    # A seed that lost one snapshot has no mean over them.
    mean = one(found, method="mlp", heldout=held_out.MEAN)
    assert (mean["mean"], mean["n"], mean["n_failed"]) == (3.0, 1, 1)
    assert mean["reason"] == "seed 1: diverged"
    assert one(found, method="identity", heldout=held_out.MEAN)["mean"] == 1.0
    with pytest.raises(ValueError, match="no held_out errors of dataset 'c'"):
        held_out.long(held_out_metrics(), ["c"], methods, [])


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
    table = errors.search(metrics, ["cells", "flowers_paired"], candidates)
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
    methods = {"mlp": METHODS["mlp"]}
    table = errors.of_datasets(metrics, FLOWERS, ["w1"], methods, ["oracle"])
    excess = one(table, method="mlp", metric="w1_excess")
    assert (excess["n"], excess["reason"]) == (1, "seed 1: no oracle to compare with")
    assert one(table, method="mlp", metric="w1")["n"] == 2


def test_a_metric_that_was_not_measured_is_named_with_its_dataset():
    expected = "no fit l2_uvp_interaction of dataset 'flowers_paired'"
    with pytest.raises(ValueError, match=expected):
        errors.of_datasets(landscape_metrics(), FLOWERS, ["l2_uvp_interaction"], METHODS, [])
    # What only some kinds of method say is no row where none of them is there.
    table = errors.of_datasets(landscape_metrics(), FLOWERS, ["w1", "rank"], METHODS, [])
    assert "w1" in set(table["metric"]) and "rank" not in set(table["metric"])


def test_what_a_posterior_says_has_rows_of_the_methods_that_have_one():
    rows = [
        row("flowers_paired", "mlp", seed, "implicit", "misfit", np.nan, value, why, mode="fit")
        for seed, value, why in ((0, 1.1, ""), (1, np.nan, "not solved"))
    ]
    metrics = pd.concat([landscape_metrics(), pd.DataFrame(rows)])
    table = errors.of_datasets(metrics, FLOWERS, ["misfit", "w1"], METHODS, [])
    misfit = tables.select(table, metric="misfit")
    assert misfit["method"].tolist() == ["mlp"]
    assert (misfit["n_failed"].item(), misfit["reason"].item()) == (1, "seed 1: not solved")
    assert set(tables.select(table, metric="w1")["method"]) == set(METHODS)


def test_the_columns_of_a_dataset_stand_first_and_its_rows_in_the_order_of_the_metrics():
    keys = {"flowers_paired": {"landscape": "flowers", "dimension": 2}}
    table = errors.of_datasets(landscape_metrics(), keys, ["w1"], {}, ["oracle"])
    assert list(table) == [
        "landscape",
        "dimension",
        "method",
        "scheme",
        "metric",
        *tables.STATISTICS,
    ]
    assert list(table["metric"]) == ["w1", "w1_excess"]
    assert set(table["dimension"]) == {2}


def test_the_error_of_an_interaction_stands_beside_that_of_the_potential():
    rows = [landscape_metrics()]
    for seed, value in ((0, 0.1), (1, 0.3)):
        for time in (0.1, 0.2):
            numbers = ("l2_uvp_interaction", time, value + time)
            rows.append(row("flowers_paired", "mlp", seed, "implicit", *numbers, mode="fit"))
        numbers = ("l2_uvp_interaction", 0.1, 0.05)
        rows.append(row("flowers_paired", "even_oracle", seed, "none", *numbers, mode="fit"))
    metrics = pd.concat([rows[0], pd.DataFrame(rows[1:])])
    names = ["l2_uvp", "l2_uvp_interaction"]
    table = errors.of_datasets(metrics, FLOWERS, names, {"mlp": METHODS["mlp"]}, ["even_oracle"])
    interaction = one(table, method="mlp", metric="l2_uvp_interaction")
    assert interaction["mean"] == pytest.approx(0.35)  # 0.25 and 0.45
    assert interaction["std"] == pytest.approx(np.sqrt(0.02))
    assert one(table, method="mlp", metric="l2_uvp")["mean"] == pytest.approx(1e-4)
    # Measured at one of two times, an error has no mean over times.
    assert one(table, method="even_oracle")["n_failed"] == 2


def test_a_transport_map_stands_behind_the_schemes_of_its_method():
    schemes = {"mlp": ["map", "explicit", "implicit"], "mlp_explicit": ["map", "implicit"]}
    rows = [
        row("cells", name, 0, scheme, "w1", 1.0, 1.0)
        for name in schemes
        for scheme in schemes[name]
    ]
    pairs = tables.order(pd.DataFrame(rows), METHODS, [])
    assert pairs == [
        ("mlp", "implicit"),
        ("mlp", "explicit"),
        ("mlp", "map"),
        ("mlp_explicit", "explicit"),
        ("mlp_explicit", "map"),
    ]


def test_no_metrics_at_all_are_an_error():
    with pytest.raises(ValueError, match="the experiment has no datasets"):
        tables.read_metrics([])


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
    table = runs.summary(kinds, {"cells": (5, 16819, 5)}, {"mine": "no file a|b"})
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
        runs.summary({"cells": "embryoid", "mine": "h5ad"}, {"cells": (5, 9, 2)}, left_out)
