"""Which columns of a representation a dataset uses, and in which units."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Columns(NamedTuple):
    """The first columns of a representation: x = (raw - centre) / scale.

    Attributes:
        x: (n, d) float64, the coordinates that are used.
        centre: (d,) in the units of the representation; zeros if nothing was standardised.
        scale: (d,) in the units of the representation; ones if nothing was standardised.
    """

    x: np.ndarray
    centre: np.ndarray
    scale: np.ndarray


def check_n_dims(n_dims: int | None, available: int, where: str) -> None:
    """Raise ValueError unless ``n_dims`` is None or within 1..available."""
    if n_dims is not None and not 1 <= n_dims <= available:
        raise ValueError(f"n_dims is {n_dims}, but {where} has 1..{available} columns to give")


def choose(raw: np.ndarray, n_dims: int | None, standardise: bool, where: str) -> Columns:
    """Keep the first ``n_dims`` columns (None: all), at mean 0 and standard deviation 1 if asked.

    The mean and the standard deviation (divisor n) are taken over all rows, as for the published
    embryoid cells.

    Args:
        raw: (n, m) representation.
        where: what an error names as the place, for example "cells.h5ad: obsm 'X_pca'".

    Raises:
        ValueError: more columns than there are, a value that is not finite, or a constant column
            that cannot be standardised.
    """
    raw = np.asarray(raw, dtype=np.float64)
    if raw.ndim != 2:
        raise ValueError(f"{where} has shape {raw.shape}; it must be (cells, dimensions)")
    check_n_dims(n_dims, raw.shape[1], where)
    kept = raw if n_dims is None else raw[:, :n_dims]  # (n, d)
    bad = np.argwhere(~np.isfinite(kept))
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(
            f"{where} holds {kept[row, column]} at row {row}, column {column} (and {len(bad) - 1} "
            "more); every value must be a finite number"
        )
    if not standardise:
        d = kept.shape[1]
        return Columns(x=kept.copy(), centre=np.zeros(d), scale=np.ones(d))
    centre, scale = kept.mean(axis=0), kept.std(axis=0)
    # Rounding leaves a constant column a deviation of a few units in the last place of its mean.
    constant = np.flatnonzero(scale <= 1e-12 * np.maximum(1.0, np.abs(centre)))
    if len(constant):
        raise ValueError(
            f"{where} is constant in column(s) {constant.tolist()}; "
            "to be standardised, it must vary"
        )
    return Columns(x=(kept - centre) / scale, centre=centre, scale=scale)
