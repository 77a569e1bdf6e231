"""Numbers along a training: files stacked, and errors relative to the first epoch by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jko.tables import traces

BY = ["dimension"]


def trace(landscape: str, seed: int, values: dict[int, float], method: str = "mlp") -> pd.DataFrame:
    key = {"landscape": landscape, "dimension": 2, "method": method, "seed": seed}
    rows = [key | {"epoch": epoch, "metric": "l2_uvp", "value": v} for epoch, v in values.items()]
    return pd.DataFrame(rows)


def test_the_mean_is_geometric_over_seeds_then_landscapes_and_the_range_over_landscapes():
    table = pd.concat(
        [
            # Halved and doubled: 1 in the mean of the landscape. Epoch 9 is not in all trainings.
            trace("flowers", 0, {1: 4.0, 3: 2.0, 9: 1.0}),
            trace("flowers", 1, {1: 0.1, 3: 0.2}),
            # A landscape counts once, however many seeds it has.
            trace("ishigami", 0, {1: 8.0, 3: 2.0}),
        ]
    )
    line = traces.relative(table, BY)
    assert list(line) == ["dimension", "method", "epoch", "ratio", "low", "high", "n", "n_failed"]
    assert list(line["epoch"]) == [1, 3]
    np.testing.assert_allclose(line["ratio"], [1.0, 0.5])  # sqrt(1 * 1/4)
    np.testing.assert_allclose(line["low"], [1.0, 0.25])
    np.testing.assert_allclose(line["high"], [1.0, 1.0])
    assert set(line["n"]) == {3} and set(line["n_failed"]) == {0}


@pytest.mark.parametrize("bad", [np.nan, 0.0, np.inf])
def test_a_training_with_a_bad_number_is_left_out_at_every_epoch(bad):
    table = pd.concat(
        [trace("flowers", 0, {1: 1.0, 3: 0.5}), trace("flowers", 1, {1: 1.0, 3: bad})]
    )
    line = traces.relative(table, BY)
    np.testing.assert_allclose(line["ratio"], [1.0, 0.5])
    assert (line["n"][0], line["n_failed"][0]) == (1, 1)


def test_methods_and_combinations_have_lines_of_their_own_epochs():
    table = pd.concat(
        [
            trace("flowers", 0, {1: 1.0, 3: 0.5}),
            trace("flowers", 0, {2: 1.0, 5: 3.0}, method="linear"),
            trace("flowers", 0, {1: 1.0, 3: 4.0}).assign(dimension=10),
        ]
    )
    lines = traces.relative(table, BY).set_index(["dimension", "method", "epoch"])["ratio"]
    assert lines.to_dict() == pytest.approx(
        {
            (2, "mlp", 1): 1.0,
            (2, "mlp", 3): 0.5,
            (2, "linear", 2): 1.0,
            (2, "linear", 5): 3.0,
            (10, "mlp", 1): 1.0,
            (10, "mlp", 3): 4.0,
        }
    )


def test_without_any_number_there_is_no_line():
    assert traces.relative(pd.DataFrame(), BY).empty
    failed = traces.relative(trace("flowers", 0, {1: np.nan, 3: np.nan}), BY)
    assert failed["ratio"].isna().all() and set(failed["n_failed"]) == {1}
    apart = pd.concat([trace("flowers", 0, {1: 1.0}), trace("flowers", 1, {2: 1.0})])
    assert traces.relative(apart, BY).empty


def test_files_are_stacked_behind_what_they_are_of(tmp_path):
    texts = {
        "trace.tsv": "seed\tepoch\tmetric\tvalue\treason\n0\t1\tl2_uvp\t0.5\t\n0\t2\tl2_uvp\t\tdiverged\n",
        "header.tsv": "seed\tepoch\tmetric\tvalue\treason\n",
        "history.tsv": "seed\tepoch\tloss\tgap\n3\t1\t0.25\t-1.5\n",
        "wrong.tsv": "seed\tvalue\n0\t1\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = [({"landscape": name[0], "n_train": 9}, tmp_path / name) for name in list(texts)[:3]]
    table = traces.stacked(files)
    assert list(table["landscape"]) == ["t", "t", "h"]
    assert list(table["seed"]) == [0, 0, 3]
    assert set(table["n_train"]) == {9}
    np.testing.assert_array_equal(table["value"], [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(table["gap"], [np.nan, np.nan, -1.5])
    assert list(table["reason"])[:2] == ["", "diverged"]
    assert traces.stacked(files[1:2]).empty
    with pytest.raises(ValueError, match=r"wrong.tsv: columns \['epoch'\] are missing"):
        traces.stacked([({}, tmp_path / "wrong.tsv")])
