"""AnnData files in and out: the only module that imports anndata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse
from anndata.io import read_elem
from anndata.utils import make_index_unique

from jko import columns
from jko.files import atomic_path

# A snapshot needs two cells to train on and two to be tested on.
FEWEST_CELLS = 4


class Cells(NamedTuple):
    """x: (n, d) coordinates; time: (n,) in the units of the file's time column."""

    x: np.ndarray
    time: np.ndarray


def load(
    path: str | Path, time_key: str, rep_key: str, n_dims: int | None, standardise: bool
) -> Cells:
    """Read the cells of an .h5ad file as points with a time.

    Args:
        path: the file.
        time_key: column of obs with the time of each cell: numbers, or labels that read as numbers.
        rep_key: entry of obsm, or "X" for the expression matrix itself.
        n_dims: leading columns of the representation to keep; None keeps all.
        standardise: each kept column at mean 0 and standard deviation 1 over all cells.

    Raises:
        ValueError: names the value and what there is instead: no such file, not an .h5ad file, a
            missing key, a time that is not a number, a single snapshot, a snapshot of fewer than
            four cells, a value that is not finite, or more columns than there are.
    """
    with _open(path) as file:
        time = _read_time(file, path, time_key)
        raw = _read_representation(file, path, rep_key, n_dims)
    if len(raw) != len(time):
        raise ValueError(f"{path}: {_name(rep_key)} has {len(raw)} rows, but obs has {len(time)}")
    _check_sizes(time, path, time_key)
    return Cells(columns.choose(raw, n_dims, standardise, f"{path}: {_name(rep_key)}").x, time)


def write_fit(
    path: str | Path,
    x: np.ndarray,
    time: np.ndarray,
    potential: np.ndarray,
    drift: np.ndarray,
    forecast: np.ndarray,
    forecast_time: np.ndarray,
    manifest: Mapping[str, Any],
    source: str | Path | None = None,
    rep_key: str = "X_jko",
    standardise: bool = False,
) -> None:
    """Write a learned energy, seen at the cells, to an .h5ad file.

    The file holds obs["jko_potential"] (n,), obsm["jko_drift"] (n, d),
    uns["jko_forecast"] = {"x": (m, d), "time": (m,)}, uns["jko_manifest"] (JSON) and
    uns["jko_coordinates"] = {"rep_key", "standardise", "centre", "scale"}: potential, drift and
    forecast are in the coordinates x = (representation - centre) / scale that the learning saw.

    Args:
        x: (n, d) the cells that the fit was made from, in the order of ``source`` if that is given.
        time: (n,) their times.
        potential: (n,) V at each cell and its time.
        drift: (n, d) -grad(V + W * rho) at each cell and its time.
        forecast: (m, d) predicted particles of all forecast times, stacked.
        forecast_time: (m,) the time of each row of ``forecast``.
        manifest: what made the fit; anything that JSON can hold.
        source: the user's .h5ad file, which is copied with the results added; None starts a new
            file with the cells as obsm[rep_key] and obs["time"].
        rep_key: as in `load`.
        standardise: as in `load`.

    Raises:
        ValueError: arrays of unequal length, or ``source`` is no longer the file that x came from.
    """
    n, d = x.shape
    for name, array, shape in (
        ("time", time, (n,)),
        ("potential", potential, (n,)),
        ("drift", drift, (n, d)),
        ("forecast", forecast, (len(forecast_time), d)),
        ("forecast_time", forecast_time, (len(forecast),)),
    ):
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}; for {n} cells it must be {shape}")
    if source is None:
        names = pd.Index([f"cell{i}" for i in range(n)])
        adata = anndata.AnnData(obs=pd.DataFrame({"time": time}, index=names))
        adata.obsm[rep_key] = x
        used = columns.Columns(x=x, centre=np.zeros(d), scale=np.ones(d))
    else:
        with _open(source) as file:
            raw = _read_representation(file, source, rep_key, d)
        used = columns.choose(raw, d, standardise, f"{source}: {_name(rep_key)}")
        if used.x.shape != x.shape or not np.allclose(used.x, x, rtol=1e-6, atol=1e-8):
            raise ValueError(
                f"{source}: {_name(rep_key)} no longer holds the {n} cells that the fit was made "
                "from; prepare the dataset again"
            )
        adata = anndata.read_h5ad(source)
    adata.obs["jko_potential"] = np.asarray(potential, dtype=np.float64)
    adata.obsm["jko_drift"] = np.asarray(drift, dtype=np.float64)
    adata.uns["jko_forecast"] = {"x": np.asarray(forecast), "time": np.asarray(forecast_time)}
    adata.uns["jko_coordinates"] = {
        "rep_key": rep_key,
        "standardise": standardise,
        "centre": used.centre,
        "scale": used.scale,
    }
    adata.uns["jko_manifest"] = json.dumps(manifest, indent=1, sort_keys=True)
    with atomic_path(path) as temporary:
        adata.write_h5ad(temporary)


def read_matrix(path: str | Path) -> tuple[scipy.sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Read X (cells, genes) of an .h5ad file as a sparse matrix, with the names of cells and genes.

    Raises:
        ValueError: no such file, not an .h5ad file, or no matrix in it.
    """
    with _open(path) as file:
        if "X" not in file:
            raise ValueError(f"{path} has no X; it must hold counts (cells, genes)")
        matrix = scipy.sparse.csr_matrix(read_elem(file["X"]))
        cells = read_elem(file["obs"]).index.to_numpy(dtype=str)
        genes = read_elem(file["var"]).index.to_numpy(dtype=str)
    return matrix, cells, genes


def unique_names(names: np.ndarray) -> pd.Index:
    """Names with -1, -2 ... added to those that stand again, as scanpy's readers do."""
    return make_index_unique(pd.Index(names))


def _open(path: str | Path) -> h5py.File:
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such file; an .h5ad file is needed")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not a readable .h5ad file ({error})") from error
    missing = [name for name in ("obs", "var") if name not in file]
    if missing:
        found = sorted(file)
        file.close()
        raise ValueError(f"{path} is not an .h5ad file: it lacks {missing}; found {found}")
    return file


def _name(rep_key: str) -> str:
    return "X" if rep_key == "X" else f"obsm {rep_key!r}"


def _read_time(file: h5py.File, path: str | Path, time_key: str) -> np.ndarray:
    """(n,) finite times; labels (strings, categories) count where every one of them is a number."""
    obs = read_elem(file["obs"])
    if time_key not in obs:
        raise ValueError(
            f"{path}: time_key {time_key!r} is not a column of obs; there are {list(obs.columns)}"
        )
    column = obs[time_key]
    values = column.astype(object).to_numpy()
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").to_numpy(np.float64)
    if pd.api.types.is_bool_dtype(column.dtype):
        numbers[:] = np.nan
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        i = int(bad[0])
        raise ValueError(
            f"{path}: time_key {time_key!r} is {values[i]!r} at cell {obs.index[i]!r} (and "
            f"{len(bad) - 1} more are no finite numbers); every time must be a number; columns of "
            f"obs: {list(obs.columns)}"
        )
    return numbers


def _read_representation(
    file: h5py.File, path: str | Path, rep_key: str, n_dims: int | None
) -> np.ndarray:
    """(n, m) dense representation; of a sparse one only the first ``n_dims`` columns are kept."""
    keys = sorted(file["obsm"]) if "obsm" in file else []
    if rep_key == "X":
        if "X" not in file:
            raise ValueError(f"{path}: rep_key is 'X', but the file has no X; obsm has {keys}")
        raw = read_elem(file["X"])
    elif rep_key in keys:
        raw = read_elem(file["obsm"][rep_key])
    else:
        raise ValueError(
            f"{path}: rep_key {rep_key!r} is not in obsm; there are {keys}, and 'X' for the matrix"
        )
    if scipy.sparse.issparse(raw):
        columns.check_n_dims(n_dims, raw.shape[1], f"{path}: {_name(rep_key)}")
        return raw[:, :n_dims].toarray()
    try:
        return np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: {_name(rep_key)} is not an array of numbers ({error})"
        ) from error


def _check_sizes(time: np.ndarray, path: str | Path, time_key: str) -> None:
    times, counts = np.unique(time, return_counts=True)
    if len(times) < 2:
        raise ValueError(
            f"{path}: time_key {time_key!r} has {len(times)} distinct value(s) {times.tolist()} in "
            f"{len(time)} cells; at least two snapshots are needed"
        )
    small = np.flatnonzero(counts < FEWEST_CELLS)
    if len(small):
        raise ValueError(
            f"{path}: {time_key} = {times[small[0]]:g} has {counts[small[0]]} cell(s); each "
            f"snapshot needs at least {FEWEST_CELLS}"
        )
