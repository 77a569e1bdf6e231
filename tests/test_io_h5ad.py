"""AnnData files in and out, and the malformed files that a user may bring."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from jko import io_h5ad, snapshots

SIZES = (7, 40, 12)
DAYS = (0.0, 1.5, 9.0)
N = sum(SIZES)


def make_cells() -> anndata.AnnData:
    """Three snapshots of unequal size and unequal gaps, not in the order of time."""
    rng = np.random.default_rng(3)
    obs = pd.DataFrame(
        {
            "day": np.repeat(DAYS, SIZES),
            "batch": np.repeat(["one", "two", "three"], SIZES),
            "once": np.full(N, 4),
        },
        index=[f"cell{i}" for i in range(N)],
    )
    adata = anndata.AnnData(
        X=scipy.sparse.csr_matrix(rng.poisson(1.0, (N, 8)).astype(np.float64)),
        obs=obs,
        var=pd.DataFrame(index=[f"gene{i}" for i in range(8)]),
    )
    adata.obsm["X_pca"] = rng.normal(size=(N, 6)) * [9, 5, 4, 3, 2, 1] + 2
    return adata[rng.permutation(N)].copy()


@pytest.fixture
def cells() -> anndata.AnnData:
    return make_cells()


def write(adata: anndata.AnnData, path: Path) -> Path:
    adata.write_h5ad(path)
    return path


def test_unequal_sizes_and_gaps_reach_the_snapshots(cells, tmp_path: Path) -> None:
    path = write(cells, tmp_path / "mine.h5ad")
    loaded = io_h5ad.load(path, "day", "X_pca", 3, standardise=False)
    np.testing.assert_array_equal(loaded.x, cells.obsm["X_pca"][:, :3])
    np.testing.assert_array_equal(loaded.time, cells.obs["day"])
    split = snapshots.split(loaded.x, loaded.time, range(2), 0.6)
    assert split.time.tolist() == list(DAYS) and split.tau.tolist() == [1.5, 7.5]
    assert [len(c) for c in split.clouds(0, "train")] == [int(0.6 * n) for n in SIZES]
    for k, day in enumerate(DAYS):
        whole = cells.obsm["X_pca"][(cells.obs["day"] == day).to_numpy(), :3]
        parts = np.vstack([split.cloud(1, "train", k), split.cloud(1, "test", k)])
        np.testing.assert_array_equal(np.sort(parts[:, 0]), np.sort(whole[:, 0]))


def test_standardised_columns_are_the_same_in_other_units(cells, tmp_path: Path) -> None:
    first = io_h5ad.load(write(cells, tmp_path / "a.h5ad"), "day", "X_pca", None, True).x
    np.testing.assert_allclose(first.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(first.std(axis=0), 1, atol=1e-12)
    cells.obsm["X_pca"] = cells.obsm["X_pca"] * 100 - 7
    second = io_h5ad.load(write(cells, tmp_path / "b.h5ad"), "day", "X_pca", None, True).x
    np.testing.assert_allclose(first, second, atol=1e-12)


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_the_matrix_itself_may_be_sparse_or_dense(cells, tmp_path: Path, form: str) -> None:
    dense = cells.X.toarray()
    cells.X = {"csr": cells.X, "csc": scipy.sparse.csc_matrix(cells.X), "dense": dense}[form]
    path = write(cells, tmp_path / "mine.h5ad")
    np.testing.assert_array_equal(io_h5ad.load(path, "day", "X", 4, False).x, dense[:, :4])
    assert io_h5ad.load(path, "day", "X", None, False).x.shape == (N, 8)


@pytest.mark.parametrize("form", ["integer", "category of numbers", "labels", "nullable"])
def test_times_may_be_labels_that_read_as_numbers(cells, tmp_path: Path, form: str) -> None:
    day = cells.obs["day"].map({0.0: 0, 1.5: 2, 9.0: 10})
    cells.obs["day"] = {
        "integer": day,
        "category of numbers": day.astype("category"),
        "labels": day.map(str).astype("category"),
        "nullable": day.astype("Int64"),
    }[form]
    path = write(cells, tmp_path / "mine.h5ad")
    np.testing.assert_array_equal(io_h5ad.load(path, "day", "X_pca", 2, False).time, day)


def _with(change: Callable[[anndata.AnnData], object]) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        adata = make_cells()
        changed = change(adata)
        write(changed if isinstance(changed, anndata.AnnData) else adata, path)

    return make


def _set_obs(value: object) -> Callable[[anndata.AnnData], None]:
    def change(adata: anndata.AnnData) -> None:
        adata.obs["day"] = value(adata.obs["day"]) if callable(value) else value

    return change


def _nan_in_pca(adata: anndata.AnnData) -> None:
    adata.obsm["X_pca"][17, 1] = np.nan


def _constant(adata: anndata.AnnData) -> None:
    adata.obsm["X_pca"][:, 2] = 0.1


def _text_obsm(adata: anndata.AnnData) -> None:
    labels = [f"t{i}" for i in range(N)]
    adata.obsm["X_pca"] = pd.DataFrame({"a": labels}, index=adata.obs_names)


def _hdf5_of_something_else(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["weights"] = np.zeros(3)


def _no_matrix(adata: anndata.AnnData) -> None:
    adata.X = None


def _drop_to(count: int) -> Callable[[anndata.AnnData], anndata.AnnData]:
    def change(adata: anndata.AnnData) -> anndata.AnnData:
        late = np.flatnonzero(adata.obs["day"] == 9.0)
        return adata[np.setdiff1d(np.arange(N), late[count:])].copy()

    return change


ARGUMENTS = {"time_key": "day", "rep_key": "X_pca", "n_dims": 3, "standardise": True}
COLUMNS = "['day', 'batch', 'once']"
GOOD = _with(lambda adata: None)

# What the file is, which arguments differ, and what the message must name.
BAD_H5AD: dict[str, tuple[Callable[[Path], object], dict, list[str]]] = {
    "no file": (lambda path: None, {}, ["there is no such file"]),
    "text": (lambda path: path.write_text("x,y\n1,2\n"), {}, ["not a readable .h5ad file"]),
    "other hdf5": (_hdf5_of_something_else, {}, ["lacks ['obs', 'var']", "['weights']"]),
    "time key": (GOOD, {"time_key": "Day"}, ["'Day'", COLUMNS]),
    "rep key": (GOOD, {"rep_key": "X_umap"}, ["'X_umap'", "['X_pca']", "'X'"]),
    "no matrix": (_with(_no_matrix), {"rep_key": "X"}, ["no X", "['X_pca']"]),
    "words for times": (GOOD, {"time_key": "batch"}, ["'batch'", "every time", COLUMNS]),
    "day words": (_with(_set_obs(lambda d: d.map("day{:g}".format))), {}, ["'day", "a number"]),
    "missing time": (
        _with(_set_obs(lambda d: d.where(d.index != "cell5"))),
        {},
        ["nan", "'cell5'", "a number"],
    ),
    "infinite time": (_with(_set_obs(lambda d: d.replace(9.0, np.inf))), {}, ["inf", "a number"]),
    "true and false": (_with(_set_obs(lambda d: d > 1)), {}, ["'day'", "a number"]),
    "one snapshot": (GOOD, {"time_key": "once"}, ["'once'", "[4.0]", "at least two"]),
    "too few cells": (_with(_drop_to(3)), {}, ["day = 9", "3 cell(s)", "at least 4"]),
    "nan": (_with(_nan_in_pca), {}, ["nan", "'X_pca'", "row 17, column 1", "finite"]),
    "too many columns": (GOOD, {"n_dims": 7}, ["n_dims is 7", "1..6"]),
    "too many genes": (GOOD, {"n_dims": 9, "rep_key": "X"}, ["n_dims is 9", "1..8"]),
    "no columns": (GOOD, {"n_dims": 0}, ["n_dims is 0", "1..6"]),
    "no genes": (GOOD, {"n_dims": 0, "rep_key": "X"}, ["n_dims is 0", "1..8"]),
    "constant column": (_with(_constant), {}, ["constant", "[2]"]),
    "text in obsm": (_with(_text_obsm), {}, ["'X_pca'", "not an array of numbers"]),
}


@pytest.mark.parametrize("case", BAD_H5AD)
def test_a_malformed_h5ad_is_an_error_in_words(tmp_path: Path, case: str) -> None:
    make, arguments, named = BAD_H5AD[case]
    path = tmp_path / "mine.h5ad"
    make(path)
    with pytest.raises(ValueError) as caught:
        io_h5ad.load(path, **(ARGUMENTS | arguments))
    for part in ["mine.h5ad", *named]:
        assert part in str(caught.value)


def _arrays() -> dict[str, np.ndarray]:
    split = snapshots.split(np.arange(24.0).reshape(12, 2), np.repeat([0.0, 1.0], 6), [0], 0.5)
    return {
        name: getattr(split, name) for name in ("x", "snapshot", "time", "seed", "train", "test")
    }


def _npz(**changes: object) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        arrays = _arrays() | {k: v for k, v in changes.items() if v is not None}
        np.savez(
            path, **{k: v for k, v in arrays.items() if k not in changes or changes[k] is not None}
        )

    return make


def _cut(path: Path) -> None:
    np.savez(path, **_arrays())
    path.write_bytes(path.read_bytes()[:-100])


def _one_array(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.zeros((12, 2)))


BAD_NPZ: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "text": (lambda path: path.write_text("no arrays here"), ["not a readable npz"]),
    "one array": (_one_array, ["not a readable npz"]),
    "truncated": (_cut, ["not a readable npz"]),
    "no labels": (_npz(snapshot=None), ["['snapshot'] are missing", "'x'"]),
    "nan": (_npz(x=np.where(np.arange(24) == 5, np.nan, 1.0).reshape(12, 2)), ["row 2", "finite"]),
    "one dimension": (_npz(x=np.zeros(12)), ["(12,)", "(particles, dimensions)"]),
    "time runs back": (_npz(time=np.array([1.0, 0.0])), ["[1.0, 0.0]", "strictly increasing"]),
    "one time": (_npz(time=np.array([1.0])), ["[1.0]", "at least two"]),
    "label beyond": (_npz(snapshot=np.repeat([0, 2], 6)), ["12 indices", "0..1"]),
    "leak": (_npz(train=np.ones((1, 12), bool)), ["in train and in test"]),
    "no test rows": (_npz(test=np.zeros((1, 12), bool)), ["fewer than 2 test", "seed 0"]),
    "numbers for masks": (_npz(train=np.ones((1, 12))), ["train must be bool"]),
    "same seed twice": (_npz(seed=np.array([0, 0])), ["[0, 0]", "distinct"]),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_malformed_snapshots_are_an_error_in_words(tmp_path: Path, case: str) -> None:
    make, named = BAD_NPZ[case]
    path = tmp_path / "snapshots.npz"
    make(path)
    with pytest.raises(ValueError) as caught:
        snapshots.load(path)
    for part in ["snapshots.npz", *named]:
        assert part in str(caught.value)


def _fit(x: np.ndarray) -> dict[str, np.ndarray]:
    """A quadratic potential at the cells, and one forecast cloud of five."""
    return {
        "potential": 0.5 * (x**2).sum(axis=1),
        "drift": -x,
        "forecast": x[:5] * 0.5,
        "forecast_time": np.full(5, 12.0),
    }


MANIFEST = {"method": {"kind": "jkonet_star", "beta": None}, "seeds": [0, 1]}


def test_write_fit_adds_to_a_copy_of_the_users_file(cells, tmp_path: Path) -> None:
    source = write(cells, tmp_path / "mine.h5ad")
    before = source.read_bytes()
    x, time = io_h5ad.load(source, "day", "X_pca", 3, standardise=True)
    out = tmp_path / "out" / "fit.h5ad"
    io_h5ad.write_fit(
        out, x, time, **_fit(x), manifest=MANIFEST, source=source, rep_key="X_pca", standardise=True
    )
    assert source.read_bytes() == before
    fit = anndata.read_h5ad(out)
    np.testing.assert_array_equal(fit.obs["batch"], cells.obs["batch"])
    np.testing.assert_array_equal(fit.X.toarray(), cells.X.toarray())
    np.testing.assert_array_equal(fit.obs["jko_potential"], 0.5 * (x**2).sum(axis=1))
    np.testing.assert_array_equal(fit.obsm["jko_drift"], -x)
    np.testing.assert_array_equal(fit.uns["jko_forecast"]["x"], x[:5] * 0.5)
    np.testing.assert_array_equal(fit.uns["jko_forecast"]["time"], np.full(5, 12.0))
    assert json.loads(fit.uns["jko_manifest"]) == MANIFEST
    used = fit.uns["jko_coordinates"]
    assert used["rep_key"] == "X_pca" and used["standardise"]
    np.testing.assert_allclose(x * used["scale"] + used["centre"], fit.obsm["X_pca"][:, :3])
    assert [child.name for child in out.parent.iterdir()] == ["fit.h5ad"]
    # A second export starts from the first one's file as well as from the original.
    io_h5ad.write_fit(
        out, x, time, **_fit(x), manifest=MANIFEST, source=out, rep_key="X_pca", standardise=True
    )


def test_write_fit_without_a_users_file_starts_a_new_one(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(9, 2))
    time = np.repeat([0.0, 1.0], [4, 5])
    io_h5ad.write_fit(tmp_path / "fit.h5ad", x, time, **_fit(x), manifest={})
    again = io_h5ad.load(tmp_path / "fit.h5ad", "time", "X_jko", None, standardise=False)
    np.testing.assert_array_equal(again.x, x)
    np.testing.assert_array_equal(again.time, time)
    fit = anndata.read_h5ad(tmp_path / "fit.h5ad")
    np.testing.assert_array_equal(fit.obsm["jko_drift"], -x)
    np.testing.assert_array_equal(fit.uns["jko_coordinates"]["scale"], [1, 1])


def test_write_fit_notices_that_the_users_file_has_changed(cells, tmp_path: Path) -> None:
    source = write(cells, tmp_path / "mine.h5ad")
    x, time = io_h5ad.load(source, "day", "X_pca", 3, standardise=False)
    write(cells[::-1].copy(), source)
    with pytest.raises(ValueError, match="mine.h5ad: obsm 'X_pca' no longer holds the 59 cells"):
        io_h5ad.write_fit(
            tmp_path / "fit.h5ad", x, time, **_fit(x), manifest={}, source=source, rep_key="X_pca"
        )
    assert not (tmp_path / "fit.h5ad").exists()


def test_write_fit_names_an_array_that_does_not_fit(tmp_path: Path) -> None:
    x = np.zeros((9, 2))
    with pytest.raises(ValueError, match=r"drift has shape \(8, 2\); for 9 cells .* \(9, 2\)"):
        io_h5ad.write_fit(
            tmp_path / "f.h5ad", x, np.zeros(9), **(_fit(x) | {"drift": x[:8]}), manifest={}
        )
