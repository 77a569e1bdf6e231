"""Tables as readable text: `0.608 ± 0.012`, failures counted and named, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from jko.files import atomic_path
from jko.tables import STATISTICS, select

# Coordinates have no unit: they are those of a simulation, or standardised.
TITLES = {
    "w1": "One-step EMD (dimensionless)",
    "w1_train": "One-step EMD on train particles (dimensionless)",
    "w1_excess": "One-step EMD less that of the oracle (dimensionless)",
    "bw2_uvp": "One-step B-UVP (%)",
    "l2_uvp": "L2-UVP (%)",
    "l2_uvp_edge": "L2-UVP over the outermost tenth of the particles (%)",
    "l2_uvp_interaction": "L2-UVP of the interaction (%)",
    "l2_uvp_drift": "L2-UVP of the drift, potential and interaction together (%)",
    "beta": "Weight of the entropy (length² / time)",
    "beta_free": "Posterior mean of the weight of the entropy (length² / time)",
    "beta_deviation": "Posterior deviation of the weight of the entropy (length² / time)",
    "beta_coverage": "Share of the 90 % intervals that hold the weight of the entropy",
    "l2_uvp_expected": "L2-UVP that the posterior expects (%)",
    "misfit": "Squared residuals over what noise alone would leave",
    "evidence": "Log evidence of the residuals in units of their noise",
    "condition": "Condition number of the normal equations with the prior or the ridge",
    "known_potential": "Coefficients of V that the data determine",
    "known_interaction": "Coefficients of W that the data determine",
    "snapshots": "Snapshots that were learned from",
    "features": "Coefficients of the energy",
    "rank": "Rank of the normal equations without the ridge",
    "gradient_coverage": "Share of the 90 % intervals that hold grad V at test particles",
    "w1_per_sqrt_d": "One-step EMD over the square root of the dimension (dimensionless)",
    "epoch_seconds": "An epoch (s); a whole fit where it is in closed form",
    "train_seconds": "Training of all seeds, whole job (s)",
    "train_mb": "Largest memory of the training (MB)",
    "couple_seconds": "Coupling of all seeds, whole job (s)",
    "couple_mb": "Largest memory of the coupling (MB)",
}


def number(mean: float, std: float) -> str:
    """`mean ± std` to three decimals, or to three digits of a number that is small or large."""
    if mean == 0 or 0.1 <= abs(mean) < 1e3:
        return f"{mean:.3f}" + ("" if np.isnan(std) else f" ± {std:.3f}")
    return f"{mean:.2e}" + ("" if np.isnan(std) else f" ± {std:.0e}")


def cell(row: Mapping) -> str:
    """One number of a readable table; a failure is always said."""
    failed = f"{row['n_failed']} failed"
    if np.isnan(row["mean"]):
        return failed if row["n_failed"] else "–"
    text = number(row["mean"], row["std"])
    return f"{text} ({failed})" if row["n_failed"] else text


def wide(table: pd.DataFrame, index: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """A tidy table as text: rows by `index`, columns by the joined `columns`, in order seen."""
    keys = table[list(columns)].astype(str).agg(", ".join, axis=1).str.removesuffix(", none")
    text = table.assign(_column=keys, _text=[cell(row) for row in table.to_dict("records")])
    pivoted = text.pivot(index=list(index), columns="_column", values="_text")
    rows = pd.MultiIndex.from_frame(text[list(index)].drop_duplicates())
    pivoted = pivoted.reindex(index=rows if len(index) > 1 else rows.get_level_values(0))
    return pivoted[list(dict.fromkeys(keys))].fillna("–").rename_axis(columns=None).reset_index()


def markdown(frame: pd.DataFrame) -> str:
    """A pipe table; the columns of numbers (all but the first ones of names) are aligned right."""
    text = frame.astype(object).where(frame.notna(), "").astype(str)
    text = text.map(lambda entry: entry.replace("|", "\\|"))
    head = "| " + " | ".join(map(str, text.columns)) + " |"
    names = {"method", "candidate", "scheme", "landscape", "dataset", "kind", "status", "reason"}
    names |= {"coupling", "unit"}
    rule = "|" + "|".join(" --- " if name in names else " ---: " for name in text.columns) + "|"
    body = ["| " + " | ".join(row) + " |" for row in text.itertuples(index=False)]
    return "\n".join([head, rule, *body]) + "\n"


def failures(table: pd.DataFrame) -> str:
    """A list of what failed and why, or an empty text; what failed alike stands on one line."""
    *first, last = [name for name in table.columns if name not in STATISTICS]
    alike: dict[tuple[str, ...], list[str]] = {}
    for row in table[table["n_failed"] > 0].to_dict("records"):
        key = (*(str(row[name]) for name in first), row["reason"])
        alike.setdefault(key, []).append(str(row[last]))
    lines = [f"- {', '.join([*key[:-1], *places])}: {key[-1]}" for key, places in alike.items()]
    return "\nNot in the means:\n\n" + "\n".join(lines) + "\n" if lines else ""


def sections(
    table: pd.DataFrame,
    titles: Mapping[str, str],
    index: Sequence[str],
    columns: Sequence[str],
    by: Sequence[str] = (),
) -> str:
    """A tidy table with a column `metric` as text: a wide table for each metric,
    and for each value of ``by``.

    A value that is a word stands alone in the heading, a number behind the name of its column.

    Args:
        titles: {metric: title}, in the order of the sections; a metric without rows has none.
        index, columns: as in :func:`wide`.
    """
    parts = []
    for metric, title in titles.items():
        rows = select(table, metric=metric)
        keys = rows[list(by)].drop_duplicates().to_dict("records") if by else [{}] * bool(len(rows))
        for key in keys:
            words = [v if isinstance(v, str) else f"{name} {v}" for name, v in key.items()]
            heading = ", ".join([title, *words])
            parts.append(f"### {heading}\n\n{markdown(wide(select(rows, **key), index, columns))}")
    return "\n".join(parts) + failures(table)


def write(frame: pd.DataFrame, text: str, path_tsv: str | Path, path_md: str | Path) -> None:
    """The table as numbers (tab separated; nan where there is none) and as readable text."""
    with atomic_path(path_tsv) as temporary:
        frame.to_csv(temporary, sep="\t", index=False, na_rep="nan")
    with atomic_path(path_md) as temporary:
        temporary.write_text(text, encoding="utf-8")


# Metric of a table of terms -> title, and the statistic that its cells show.
TERMS = {
    "l2_uvp_potential": ("L2-UVP of the potential (%), median cell and quartiles", "quartiles"),
    "l2_uvp_interaction": ("L2-UVP of the interaction (%), median cell and quartiles", "quartiles"),
    "l2_uvp_drift": (
        "L2-UVP of the drift, both together (%), median cell and quartiles",
        "quartiles",
    ),
    "beta_hat": ("Learned beta (length² / time), mean and deviation of single fits", "mean"),
    "w1_ratio": ("One-step EMD over that of the oracle, median cell and quartiles", "quartiles"),
}


def terms(summary: pd.DataFrame, causes: pd.DataFrame) -> str:
    """:func:`jko.tables.terms.by_beta` as text, a wide table for each metric, and what has no number."""
    parts = []
    for metric, (title, statistic) in TERMS.items():
        rows = select(summary, metric=metric)
        text = rows.assign(
            text=[_term(row, statistic) for row in rows.to_dict("records")],
            column=[f"beta {beta:g}" for beta in rows["beta"]],
        ).pivot(index="method", columns="column", values="text")
        text = text.reindex(dict.fromkeys(rows["method"])).fillna("–")
        parts.append(f"### {title}\n\n{markdown(text.rename_axis(columns=None).reset_index())}")
    lines = [
        f"- {row['method']}, {row['fits']} fits ({row['pairs']}): {row['status']}"
        for row in causes.to_dict("records")
    ]
    lost = "\nNot in the statistics:\n\n" + "\n".join(lines) + "\n" if lines else ""
    return "\n".join(parts) + lost


def _term(row: Mapping, statistic: str) -> str:
    failed = f"{row['n_failed']} failed"
    if not row["n"]:
        return failed
    if statistic == "mean":
        text = number(row["mean"], row["std"])
    else:
        low, high = (number(row[name], np.nan) for name in ("low", "high"))
        text = f"{number(row['median'], np.nan)} ({low} to {high})"
    return f"{text} ({failed})" if row["n_failed"] else text
