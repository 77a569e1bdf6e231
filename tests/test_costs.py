"""Costs: benchmark files and lines of progress as the workflow writes them, against times by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jko import training
from jko.tables import STATISTICS, costs
from measured import METHODS, one

# A benchmark file of Snakemake with two repeats, and one of a job too short for a look at its memory.
LONG = "s\th:m:s\tmax_rss\tmax_vms\n4.5\t0:00:04\t210.50\t900.00\n5.5\t0:00:05\t190.00\t900.00\n"
SHORT = "s\th:m:s\tmax_rss\tmax_vms\n0.25\t0:00:00\t-\t-\n"
FITS = [("flowers_unpaired", "mlp"), ("flowers_unpaired", "mlp_explicit")]
KEYS = {"flowers_unpaired": {"landscape": "flowers"}}


@pytest.fixture
def files(tmp_path):
    for name, text in {"long": LONG, "short": SHORT, "other": "seconds\n1\n"}.items():
        (tmp_path / f"{name}.tsv").write_text(text)
    return {name: tmp_path / f"{name}.tsv" for name in ("long", "short", "other")}


def test_a_job_has_the_median_of_its_seconds_and_its_largest_memory(files):
    assert costs.job(files["long"]) == (5.0, 210.5)
    seconds, memory = costs.job(files["short"])
    assert seconds == 0.25 and np.isnan(memory)
    with pytest.raises(ValueError, match=r"other.tsv: not a benchmark file of Snakemake"):
        costs.job(files["other"])


def test_costs_stand_beside_errors_with_what_is_missing_said(files):
    jobs = costs.of_fits(FITS, [files["long"], files["short"]], [files["short"], files["long"]])
    table = costs.rows(jobs, KEYS, METHODS)
    assert list(table) == ["landscape", "method", "scheme", "metric", *STATISTICS]
    found = {
        (row.method, row.metric): row.mean for row in table.itertuples() if np.isfinite(row.mean)
    }
    assert found == {
        ("mlp", "train_seconds"): 5.0,
        ("mlp", "train_mb"): 210.5,
        ("mlp", "couple_seconds"): 0.25,
        ("mlp_explicit", "train_seconds"): 0.25,
        ("mlp_explicit", "couple_seconds"): 5.0,
        ("mlp_explicit", "couple_mb"): 210.5,
    }
    lost = one(table, method="mlp", metric="couple_mb")
    assert (lost["n"], lost["n_failed"]) == (0, 1) and "before its memory" in lost["reason"]


def test_spans_are_the_differences_of_the_lines_of_progress():
    marks = [
        (1.0, "seed 0: entropies 3.1"),
        (7.0, "epoch 1/10 loss 0.5 (1 of 1 seeds finite) 7 s, about 63 s left"),
        (9.0, "epoch 5/10 loss 0.4"),
        (10.5, "epoch 10/10 loss 0.4"),
    ]
    found = costs.spans(marks, 11.0)
    assert list(found) == costs.SPANS and set(found["unit"]) == {"epoch"}
    assert found["epochs"].tolist() == [1, 4, 5]
    assert found["seconds"].tolist() == [7.0, 2.0, 1.5]
    whole = costs.spans([(0.5, "seed 0: potential: 34 features")], 2.5)
    assert whole.to_dict("records") == [{"unit": "fit", "epochs": 1, "seconds": 2.5}]


def test_the_lines_of_a_training_are_understood():
    def update(state, part, shared, key):
        return state + jnp.mean(part), {"loss": jnp.mean(part)}

    lines = []
    training.run(
        update,
        jnp.zeros(1),
        jnp.ones((1, 8)),
        jax.vmap(jax.random.key)(jnp.zeros(1, jnp.uint32)),
        epochs=30,
        batch=4,
        loss_limit=1e6,
        keep=[1, 7],
        report=lines.append,
    )
    found = costs.spans([(float(i), line) for i, line in enumerate(lines)], 99.0)
    assert found["epochs"].sum() == 30 and len(found) == len(lines)
    assert found["epochs"].iloc[0] == 1


def test_an_epoch_is_without_what_comes_before_the_first_mark(tmp_path):
    paths = {name: tmp_path / f"{name}.tsv" for name in ("neural", "other", "closed")}
    # Of the nine later epochs one took 4 s, eight 0.5 s each; another dataset has one of 9 s.
    spans = {
        "neural": [("epoch", 1, 100.0), ("epoch", 1, 4.0), ("epoch", 8, 4.0)],
        "other": [("epoch", 1, 50.0), ("epoch", 1, 9.0)],
        "closed": [("fit", 1, 20.0), ("fit", 1, 3.0), ("fit", 1, 1.0)],
    }
    for name, rows in spans.items():
        pd.DataFrame(rows, columns=costs.SPANS).to_csv(paths[name], sep="\t", index=False)
    pairs = [("mlp", paths["neural"]), ("linear", paths["closed"]), ("mlp", paths["other"])]
    alone = costs.per_epoch(pairs[:1]).set_index("method")
    assert alone.loc["mlp"].to_dict() == {
        "unit": "epoch", "epochs": 9, "median_s": 0.5, "low_s": 0.5, "high_s": 0.5,
        "first_s": 100.0, "fit_s": 108.0,
    }  # fmt: skip
    table = costs.per_epoch(pairs).set_index("method")
    assert table.loc["linear"].to_dict() == {
        "unit": "fit", "epochs": 2, "median_s": 2.0, "low_s": 1.5, "high_s": 2.5,
        "first_s": 20.0, "fit_s": 20.0,
    }  # fmt: skip
    assert table.loc["mlp", "epochs"] == 10
    assert (table.loc["mlp", "first_s"], table.loc["mlp", "fit_s"]) == (75.0, 83.5)


def test_epochs_are_rows_of_a_table_of_errors_for_every_landscape():
    found = pd.DataFrame({"method": ["mlp", "linear"], "median_s": [0.5, 2.0]})
    methods = {"mlp": {"scheme": "implicit"}, "linear": {"scheme": "explicit"}}
    table = costs.epoch_rows(found, methods)
    assert set(table["landscape"]) == {"every"} and set(table["metric"]) == {"epoch_seconds"}
    assert table["mean"].tolist() == [0.5, 2.0] and table["n"].tolist() == [1, 1]
    assert table["scheme"].tolist() == ["implicit", "explicit"]


def test_a_single_span_cannot_be_told_from_its_compilation(tmp_path):
    path = tmp_path / "one.tsv"
    pd.DataFrame([("epoch", 5, 9.0)], columns=costs.SPANS).to_csv(path, sep="\t", index=False)
    with pytest.raises(ValueError, match="one.tsv: 1 span of epochs; two are needed"):
        costs.per_epoch([("mlp", path)])


EPOCHS = pd.DataFrame({"method": ["slow", "quick"], "median_s": [6.0, 1.5]})


def histories(folder, losses: dict[str, list[list[float]]]) -> dict:
    """One table for each method: a row of losses for each seed."""
    found = {}
    for method, rows in losses.items():
        table = [(s, e + 1, loss) for s, row in enumerate(rows) for e, loss in enumerate(row)]
        path = folder / f"{method}.tsv"
        pd.DataFrame(table, columns=["seed", "epoch", "loss"]).to_csv(path, sep="\t", index=False)
        found[method] = [path]
    return found


def test_losses_are_compared_epoch_by_epoch_and_seed_by_seed(tmp_path):
    losses = {"slow": [[3.0, 5.0], [4.0, 2.0]], "quick": [[2.0, 4.0], [4.0, 1.0]]}
    table = costs.at_equal_epochs(histories(tmp_path, losses), EPOCHS).set_index("method")
    quick = table.loc["quick"]
    assert (quick["epochs"], quick["n"], quick["n_failed"]) == (2, 2, 0)
    assert (quick["loss_mean"], quick["loss_std"]) == (2.5, pytest.approx(3 / 2**0.5))
    # -1 in both epochs of the one seed, 0 and -1 of the other.
    assert quick["difference_mean"] == -0.75
    assert quick["difference_std"] == pytest.approx(0.5 / 2**0.5)
    assert (quick["epoch_s"], quick["saving"]) == (1.5, 4.0)
    assert (table.loc["slow", "difference_mean"], table.loc["slow", "saving"]) == (0, 1)


def test_a_diverged_seed_is_counted_and_left_out(tmp_path):
    losses = {"slow": [[3.0, 5.0], [4.0, 2.0]], "quick": [[2.0, 4.0], [4.0, np.nan]]}
    quick = costs.at_equal_epochs(histories(tmp_path, losses), EPOCHS).iloc[1]
    assert (quick["n"], quick["n_failed"]) == (1, 1)
    assert (quick["loss_mean"], quick["difference_mean"]) == (4.0, -1.0)


def test_a_seed_that_the_first_method_lost_has_a_loss_and_no_difference(tmp_path):
    losses = {"slow": [[3.0, 5.0], [4.0, np.nan]], "quick": [[2.0, 4.0], [9.0, 6.0]]}
    quick = costs.at_equal_epochs(histories(tmp_path, losses), EPOCHS).iloc[1]
    assert (quick["n"], quick["loss_mean"], quick["difference_mean"]) == (2, 5.0, -1.0)


def test_methods_with_other_epochs_cannot_be_compared(tmp_path):
    losses = {"slow": [[3.0, 5.0]], "quick": [[2.0]]}
    with pytest.raises(ValueError, match="quick has other seeds or epochs than slow"):
        costs.at_equal_epochs(histories(tmp_path, losses), EPOCHS)
