"""What is written down along a training: numbers per epoch, of every seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

_NUMBERS = ("value", "loss", "gap", "map_loss")


def stacked(files: Iterable[tuple[Mapping, str | Path]]) -> pd.DataFrame:
    """Files stacked, each behind columns that say what it is of; a column that a file lacks is NaN.

    Args:
        files: pairs of {column: value} and the path of a table with the columns seed and epoch.

    Raises:
        ValueError: a file has no seed or no epoch.
    """
    frames = []
    for key, path in files:
        empty = dict.fromkeys(_NUMBERS, ["", "nan"])
        frame = pd.read_csv(path, sep="\t", keep_default_na=False, na_values=empty)
        missing = [name for name in ("seed", "epoch") if name not in frame.columns]
        if missing:
            raise ValueError(f"{path}: columns {missing} are missing; found {list(frame.columns)}")
        if len(frame):
            frames.append(pd.DataFrame([key] * len(frame)).join(frame))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def relative(traces: pd.DataFrame, by: Sequence[str], metric: str = "l2_uvp") -> pd.DataFrame:
    """An error along the trainings, each relative to the first epoch at which it was taken.

    The geometric mean over the seeds of a landscape, then over the landscapes: a ratio of 1/2 in
    one and of 2 in another cancel. Every point of a line is of the same trainings: epochs are those
    that all of them have, and a training that has no positive number at one of them is left out.

    Args:
        traces: columns of `by`, landscape, method, seed, epoch, metric, value.
        by: columns that tell the lines of a method apart.

    Returns:
        Columns of `by`, method, epoch, ratio, low and high (least and greatest of the landscapes),
        n and n_failed (trainings that are in the line, and that are not).
    """
    keys, table = [*by, "method"], []
    rows = traces[traces["metric"] == metric] if len(traces) else pd.DataFrame(columns=keys)
    for key, of_line in rows.groupby(keys, sort=False):
        values = of_line.pivot(index=["landscape", "seed"], columns="epoch", values="value")
        values = values.loc[:, of_line.groupby("epoch").size() == len(values)]
        if values.empty:
            continue
        good = values[(np.isfinite(values) & (values > 0)).all(axis=1)]
        ratio = np.log(good.div(good.iloc[:, 0], axis=0)).groupby("landscape").mean()
        numbers = {"ratio": ratio.mean(), "low": ratio.min(), "high": ratio.max()}
        line = np.exp(pd.DataFrame(numbers)).rename_axis("epoch").reset_index()
        counts = {"n": len(good), "n_failed": len(values) - len(good)}
        table.append(line.assign(**dict(zip(keys, key, strict=True)), **counts))
    names = [*keys, "epoch", "ratio", "low", "high", "n", "n_failed"]
    return pd.concat(table, ignore_index=True)[names] if table else pd.DataFrame(columns=names)
