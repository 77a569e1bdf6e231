"""What jobs and trainings take: seconds and memory, measured where they ran."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from jko.tables import statistics

# What is known of the jobs behind a fit: wall-clock seconds, and the largest resident memory in MB.
JOBS = ("train_seconds", "train_mb", "couple_seconds", "couple_mb")
SPANS = ["unit", "epochs", "seconds"]
_EPOCH = re.compile(r"epoch (\d+)/\d+ ")


def job(path: str | Path) -> tuple[float, float]:
    """Median seconds and largest memory (MB) of a job, of Snakemake's benchmark file.

    The seconds are those of the whole process with its imports. Memory is NaN where the job ended
    before it was looked at.

    Raises:
        ValueError: the file has no column s or max_rss, or no row.
    """
    frame = pd.read_csv(path, sep="\t", na_values=["-"])
    if frame.empty or not {"s", "max_rss"} <= set(frame.columns):
        raise ValueError(f"{path}: not a benchmark file of Snakemake; found {list(frame.columns)}")
    return float(frame["s"].median()), float(frame["max_rss"].max())


def of_fits(
    fits: Sequence[tuple[str, str]], train: Sequence[str | Path], couple: Sequence[str | Path]
) -> dict[tuple[str, str], dict[str, float]]:
    """{(dataset, method): {one of JOBS: number}}; a job is for all seeds of its dataset.

    Args:
        fits: (dataset, method) pairs. train, couple: the benchmark files of the training of each
            and of the coupling that it used.
    """
    found = {}
    for fit, of_train, of_couple in zip(fits, train, couple, strict=True):
        found[fit] = dict(zip(JOBS, (*job(of_train), *job(of_couple)), strict=True))
    return found


def rows(costs: Mapping[tuple[str, str], Mapping[str, float]], keys: Mapping, methods: Mapping):
    """Costs as rows of a table of errors: the keys of the dataset, method, scheme, metric, statistics.

    Args:
        costs: as :func:`of_fits` returns it. keys: {dataset: {column: value}}.
        methods: {name: settings with `scheme`}.
    """
    table = []
    for (dataset, method), numbers in costs.items():
        key = {**keys[dataset], "method": method, "scheme": methods[method]["scheme"]}
        for metric, value in numbers.items():
            reasons = {0: "the job ended before its memory was looked at"}
            table.append(key | {"metric": metric} | statistics(pd.Series([value]), reasons))
    return pd.DataFrame(table)


def spans(marks: Sequence[tuple[float, str]], whole: float) -> pd.DataFrame:
    """Seconds between the lines of progress that a training reports, and the epochs between them.

    The first span holds all that comes before it, compilation included.

    Args:
        marks: (seconds since the start of the fit, line of progress).
        whole: seconds of the whole fit, which has one span where nothing is said of epochs.

    Returns:
        Columns unit ("epoch", or "fit" for a fit without epochs), epochs, seconds.
    """
    at = [(int(said[1]), seconds) for seconds, line in marks if (said := _EPOCH.match(line))]
    if not at:
        return pd.DataFrame([("fit", 1, whole)], columns=SPANS)
    ends = pd.DataFrame(at, columns=SPANS[1:])
    return ends.diff().fillna(ends).astype({"epochs": int}).assign(unit="epoch")[SPANS]


def per_epoch(files: Iterable[tuple[str, str | Path]]) -> pd.DataFrame:
    """Seconds of an epoch of each method, once everything is compiled.

    Args:
        files: pairs of a method and a table of :func:`spans` on one dataset, of one fit or of
            several without epochs.

    Returns:
        Columns method, unit, epochs (all but those of the first spans); median_s, low_s and high_s,
        the quartiles over these epochs of all datasets, each taken as the mean of its span; first_s,
        seconds of the first span, and fit_s, of a fit up to its last epoch or of the first of those without, medians over
        the datasets.

    Raises:
        ValueError: a file has one span alone, whose compilation cannot be told apart.
    """
    of_methods: dict[str, list[pd.DataFrame]] = {}
    for method, path in files:
        found = pd.read_csv(path, sep="\t")
        if len(found) < 2:
            raise ValueError(
                f"{path}: {len(found)} span of epochs; two are needed to tell the compilation from them"
            )
        of_methods.setdefault(method, []).append(found)
    table = []
    for method, tables in of_methods.items():
        later, unit = pd.concat([found.iloc[1:] for found in tables]), tables[0]["unit"].iloc[0]
        of_epochs = np.repeat(later["seconds"] / later["epochs"], later["epochs"])
        low, median, high = of_epochs.quantile([0.25, 0.5, 0.75])
        first = [found["seconds"].iloc[0] for found in tables]
        whole = [found["seconds"].sum() for found in tables] if unit == "epoch" else first
        key = {"method": method, "unit": unit, "epochs": len(of_epochs)}
        quartiles = {"median_s": median, "low_s": low, "high_s": high}
        table.append(key | quartiles | {"first_s": np.median(first), "fit_s": np.median(whole)})
    return pd.DataFrame(table)


def epoch_rows(found: pd.DataFrame, methods: Mapping[str, Mapping]) -> pd.DataFrame:
    """Median seconds of an epoch as rows of a table of errors, for all landscapes alike.

    Args:
        found: as :func:`per_epoch` returns it. methods: {name: settings with `scheme`}.
    """
    table = []
    for row in found.itertuples():
        key = {"landscape": "every", "method": row.method, "scheme": methods[row.method]["scheme"]}
        table.append(key | {"metric": "epoch_seconds"} | statistics(pd.Series([row.median_s]), {}))
    return pd.DataFrame(table)


def at_equal_epochs(
    histories: Mapping[str, Sequence[str | Path]], epochs: pd.DataFrame
) -> pd.DataFrame:
    """The outer loss of trainings on the same batches, beside what an epoch of each takes.

    Losses of two epochs differ by their batches more than by what was learned between them. Methods that take the same batches
    in the same order are compared epoch by epoch: ``difference`` is the loss less that of the first method.

    Args:
        histories: {method: a table for each dataset with the columns seed, epoch and loss}, the first method being the one that the others
            are compared with. epochs: as :func:`per_epoch` returns it.

    Returns:
        Columns method; epochs, so many of each seed; loss, of the last of them, and difference, the mean over all, each with its
        mean and std over datasets and seeds; n and n_failed, those with a loss in every epoch and the others; epoch_s and saving, how many times the
        seconds of an epoch of the first method are these.

    Raises:
        ValueError: a method has other seeds or epochs than the first.
    """
    tables = {
        method: pd.concat(
            [pd.read_csv(path, sep="\t").assign(dataset=i) for i, path in enumerate(paths)]
        ).pivot(index=["dataset", "seed"], columns="epoch", values="loss")
        for method, paths in histories.items()
    }
    first, *_ = tables
    seconds = epochs.set_index("method")["median_s"]
    found = []
    for method, losses in tables.items():
        base = tables[first]
        if not (losses.index.equals(base.index) and losses.columns.equals(base.columns)):
            raise ValueError(f"{method} has other seeds or epochs than {first}; it needs the same")
        good = np.isfinite(losses).all(axis=1)
        last = losses.loc[good].iloc[:, -1]
        # Of a seed that the first method lost, there is none.
        difference = (losses - base).loc[good].mean(axis=1, skipna=False)
        numbers = {"method": method, "epochs": losses.shape[1]}
        for name, values in (("loss", last), ("difference", difference)):
            numbers |= {f"{name}_mean": values.mean(), f"{name}_std": values.std(ddof=1)}
        numbers |= {"n": int(good.sum()), "n_failed": int((~good).sum())}
        found.append(
            numbers | {"epoch_s": seconds[method], "saving": seconds[first] / seconds[method]}
        )
    return pd.DataFrame(found)
