"""Small metrics as evaluation writes them, and tables of them, for the tests
of what is made of these.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from jko import tables
from jko.tables import cells, errors

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
    return cells.intervals(cells_metrics(), "cells", METHODS, ["floor", "identity"], DAYS)


def one(table: pd.DataFrame, **wanted) -> pd.Series:
    rows = tables.select(table, **wanted)
    assert len(rows) == 1
    return rows.iloc[0]


FLOWERS = {"flowers_paired": {"landscape": "flowers", "pairing": "paired"}}
LANDSCAPE_METRICS = ["w1", "bw2_uvp", "l2_uvp"]


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
    return errors.of_datasets(landscape_metrics(), FLOWERS, LANDSCAPE_METRICS, methods, references)
