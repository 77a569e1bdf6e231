"""Tables: means over seeds against numbers worked out by hand, and failures that stay visible."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jko import tables

METHODS = {
    "mlp": {"kind": "mlp", "scheme": "implicit"},
    "mlp_explicit": {"kind": "mlp", "scheme": "explicit"},
}
DAYS = ["0-3", "6-9", "12-15"]


def row(dataset, method, seed, scheme, metric, time, value, reason="", mode="one_step"):
    cells = (dataset, method, seed, mode, scheme, metric, time, value, reason, "manifest.json")
    return dict(zip(tables.METRICS_COLUMNS, cells, strict=True))


def cells_metrics() -> pd.DataFrame:
    """Two intervals, three seeds; mlp predicts by both schemes, and its seed 2 diverged."""
    rows = []
    for seed, first, second in ((0, 1.0, 2.0), (1, 3.0, 5.0)):
        rows += [row("cells", "mlp", seed, "implicit", "w1", 1.0, first)]
        rows += [row("cells", "mlp", seed, "implicit", "w1", 2.0, second)]
    for time in (1.0, 2.0):
        rows += [row("cells", "mlp", 2, "implicit", "w1", time, np.nan, "diverged at step 512")]
    for seed in range(3):
        for time in (1.0, 2.0):
            rows += [row("cells", "identity", seed, "none", "w1", time, 7.0)]
            rows += [row("cells", "mlp", seed, "explicit", "w1", time, 10.0 + seed)]
        # Rows that the table must not take.
        rows += [row("cells", "mlp", seed, "implicit", "w1", 1.0, 99.0, mode="rollout")]
        rows += [row("cells", "mlp", seed, "implicit", "bw2_uvp", 1.0, 99.0)]
        rows += [row("other", "mlp", seed, "implicit", "w1", 1.0, 99.0)]
    # An implicit step of what was learned for the explicit one is no row of the tables.
    rows += [row("cells", "mlp_explicit", 0, "implicit", "w1", 1.0, 99.0)]
    # mlp_explicit lacks the second interval of seed 0, and all of seeds 1 and 2.
    rows += [row("cells", "mlp_explicit", 0, "explicit", "w1", 1.0, 4.0)]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def cells_table() -> pd.DataFrame:
    return tables.intervals(cells_metrics(), "cells", METHODS, ["floor", "identity"], DAYS)


def one(table: pd.DataFrame, **wanted) -> pd.Series:
    rows = tables.select(table, **wanted)
    assert len(rows) == 1
    return rows.iloc[0]


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


def landscape_metrics() -> pd.DataFrame:
    """flowers_paired with two seeds and two times; the excess is seed by seed."""
    rows, name = [], "flowers_paired"
    for seed in (0, 1):
        for time in (0.1, 0.2):
            rows += [row(name, "mlp", seed, "implicit", "w1", time, 1.0 + seed + time)]
            rows += [row(name, "oracle", seed, "explicit", "w1", time, 0.5 + 2 * seed + time)]
            rows += [row(name, "mlp", seed, "implicit", "bw2_uvp", time, 3.0)]
        rows += [row(name, "zero_energy", seed, "none", "l2_uvp", np.nan, 0.2, mode="fit")]
        rows += [row(name, "mlp", seed, "none", "l2_uvp", np.nan, 1e-4, mode="fit")]
        # Where there are numbers per time, the one over all times is not averaged with them.
        rows += [row(name, "mlp", seed, "implicit", "w1", np.nan, 99.0)]
    return pd.DataFrame(rows)


def landscape_table() -> pd.DataFrame:
    methods = {"mlp": METHODS["mlp"]}
    references = ["oracle", "zero_energy"]
    return tables.landscapes(landscape_metrics(), ["flowers_paired"], methods, references)


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


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (0.6084, 0.0123, "0.608 ± 0.012"),
        (12.3456, np.nan, "12.346"),
        (1.6e-4, 2.1e-5, "1.60e-04 ± 2e-05"),
        (-0.012, 0.003, "-1.20e-02 ± 3e-03"),
        (12345.6, 21.0, "1.23e+04 ± 2e+01"),
        (0.0, 0.0, "0.000 ± 0.000"),
    ],
)
def test_numbers(mean, std, text):
    assert tables.number(mean, std) == text


def test_markdown_of_the_cells():
    table = cells_table()
    text = tables.markdown(tables.wide(table, ["method", "scheme"], ["interval"]))
    assert text.splitlines() == [
        "| method | scheme | 0-3 to 6-9 | 6-9 to 12-15 | mean over intervals |",
        "| --- | --- | ---: | ---: | ---: |",
        "| mlp | implicit | 2.000 ± 1.414 (1 failed) | 3.500 ± 2.121 (1 failed) "
        "| 2.750 ± 1.768 (1 failed) |",
        "| mlp | explicit | 11.000 ± 1.000 | 11.000 ± 1.000 | 11.000 ± 1.000 |",
        "| mlp_explicit | explicit | 4.000 (2 failed) | 3 failed | 3 failed |",
        "| floor | none | 3 failed | 3 failed | 3 failed |",
        "| identity | none | 7.000 ± 0.000 | 7.000 ± 0.000 | 7.000 ± 0.000 |",
    ]
    everywhere = "0-3 to 6-9, 6-9 to 12-15, mean over intervals"
    line = f"- mlp, implicit, {everywhere}: seed 2: diverged at step 512\n"
    assert tables.failures(table).count("diverged at step 512") == 1
    assert line in tables.failures(table)
    assert tables.failures(table[table["n_failed"] == 0]) == ""


def test_sections_of_the_landscapes():
    text = tables.sections(landscape_table(), {"l2_uvp": "L2-UVP (%)", "w1": "EMD"})
    assert text.splitlines()[:5] == [
        "### L2-UVP (%), paired",
        "",
        "| landscape | mlp, implicit | zero_energy |",
        "| --- | ---: | ---: |",
        "| flowers | 1.00e-04 ± 0e+00 | 0.200 ± 0.000 |",
    ]
    assert "### EMD, paired" in text


def test_summary_says_what_was_left_out(tmp_path):
    kinds = {"cells": "embryoid", "mine": "h5ad"}
    table = tables.summary(kinds, {"cells": (5, 16819, 5)}, {"mine": "no file a|b"})
    paths = tmp_path / "summary.tsv", tmp_path / "summary.md"
    tables.write(table, tables.markdown(table), *paths)
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


def test_numbers_survive_the_file(tmp_path):
    table = cells_table()
    tables.write(table, "", tmp_path / "t.tsv", tmp_path / "t.md")
    none = {"mean": "nan", "std": "nan"}
    read = pd.read_csv(tmp_path / "t.tsv", sep="\t", keep_default_na=False, na_values=none)
    pd.testing.assert_frame_equal(read, table)
