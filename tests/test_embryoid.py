"""The embryoid body cells: the published ones, wherever they lie, and never any others."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jko import embryoid, snapshots
from test_download import everything_in, serve

COUNTS = [2381, 4163, 3278, 3665, 3332]


@pytest.fixture(scope="module")
def published() -> Path:
    """The folder with the published pair of files."""
    beside = Path(__file__).parents[2] / "shared" / "eb"
    folder = Path(os.environ.get(embryoid.VARIABLE) or beside)
    if not (folder / "data.npy").is_file():
        pytest.fail(
            f"no embryoid cells at {folder}: set {embryoid.VARIABLE} to the folder with data.npy"
        )
    return folder


@pytest.fixture
def pair(published: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.load(published / "data.npy"), np.load(published / "sample_labels.npy")


def write_artefact(path: Path, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """An artefact as published, whose first components are ``x`` in other units; returns pcs."""
    rng = np.random.default_rng(0)
    scale = np.array([12.0, 9.0, 7.0, 5.0, 3.0])
    pcs = np.hstack([x * scale + scale[::-1], rng.normal(size=(len(x), 5)) * 0.7 + 0.1])
    np.savez(path, pcs=pcs, sample_labels=labels, phate=pcs[:, :2])
    return pcs


def test_the_pair_is_the_published_cells(published: Path, pair) -> None:
    cells = embryoid.load(published)
    assert cells.x.shape == (16819, 5) and cells.x.dtype == np.float64
    np.testing.assert_array_equal(cells.x, pair[0])
    times, counts = np.unique(cells.time, return_counts=True)
    assert times.tolist() == [0, 1, 2, 3, 4] and counts.tolist() == COUNTS
    np.testing.assert_allclose(cells.x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(cells.x.std(axis=0), 1, atol=1e-12)
    np.testing.assert_array_equal(embryoid.load(published / "data.npy", 2).x, pair[0][:, :2])


def test_five_splits_take_sixty_per_cent_of_each_day(published: Path) -> None:
    cells = embryoid.load(published)
    split = snapshots.split(cells.x, cells.time, range(5), 0.6)
    assert split.tau.tolist() == [1, 1, 1, 1]
    for s, k in np.ndindex(5, 5):
        assert len(split.rows(s, "train", k)) == int(0.6 * COUNTS[k])
        assert len(split.rows(s, "train", k)) + len(split.rows(s, "test", k)) == COUNTS[k]
    assert not np.array_equal(split.train[0], split.train[1])


def test_the_artefact_standardised_is_the_pair(tmp_path: Path, pair) -> None:
    pcs = write_artefact(tmp_path / embryoid.ARTEFACT, *pair)
    cells = embryoid.load(tmp_path / embryoid.ARTEFACT)
    np.testing.assert_allclose(cells.x, pair[0], atol=1e-10)
    np.testing.assert_array_equal(cells.time, pair[1])
    more = embryoid.load(tmp_path, 7)
    assert more.x.shape == (16819, 7)
    np.testing.assert_allclose(more.x[:, :5], pair[0], atol=1e-10)
    np.testing.assert_allclose(more.x.std(axis=0), 1, atol=1e-12)
    np.testing.assert_array_equal(embryoid.load(tmp_path, 3, standardise=False).x, pcs[:, :3])


def test_single_precision_components_are_still_the_published_cells(pair) -> None:
    embryoid.check_cells((pair[0] * 12 - 20).astype(np.float32), pair[1])


def test_locate_looks_at_the_config_then_the_variable_then_the_downloads(tmp_path: Path) -> None:
    for name in ("config", "variable", "resources"):
        (tmp_path / name).mkdir()
    resources = tmp_path / "resources"
    variable = {embryoid.VARIABLE: str(tmp_path / "variable")}
    config = str(tmp_path / "config")
    assert embryoid.locate(config, variable, resources) == tmp_path / "config"
    assert embryoid.locate(None, variable, resources) == tmp_path / "variable"
    assert embryoid.locate(None, {embryoid.VARIABLE: ""}, resources) is None
    for name in embryoid.PAIR:
        assert embryoid.locate(None, {}, resources) is None
        (resources / name).touch()
    assert embryoid.locate(None, {}, resources) == resources
    assert embryoid.locate(None, {}, resources, embryoid.files_needed(6)) is None
    (resources / embryoid.ARTEFACT).touch()
    place = embryoid.locate(None, {}, resources, embryoid.files_needed(6))
    assert embryoid.files_at(place, embryoid.files_needed(6)) == (resources / embryoid.ARTEFACT,)
    assert embryoid.files_at(place) == tuple(resources / name for name in embryoid.PAIR)


def _copy_pair(folder: Path, x: np.ndarray, labels: np.ndarray) -> Path:
    folder.mkdir()
    np.save(folder / "data.npy", x)
    np.save(folder / "sample_labels.npy", labels)
    return folder


def _one_cell_moved(tmp_path: Path, published: Path) -> Path:
    x = np.load(published / "data.npy")
    x[0, 0] += 1e-9
    return _copy_pair(tmp_path / "cells", x, np.load(published / "sample_labels.npy"))


def _other_artefact(change: Callable[[np.ndarray, np.ndarray], tuple]) -> Callable:
    def make(tmp_path: Path, published: Path) -> Path:
        x, labels = np.load(published / "data.npy"), np.load(published / "sample_labels.npy")
        np.savez(tmp_path / "cells.npz", **dict(zip(("pcs", "sample_labels"), change(x, labels))))
        return tmp_path / "cells.npz"

    return make


def _text(tmp_path: Path, published: Path) -> Path:
    (tmp_path / "cells.npz").write_text("404: Not Found")
    return tmp_path / "cells.npz"


def _empty_folder(tmp_path: Path, published: Path) -> Path:
    (tmp_path / "cells").mkdir()
    return tmp_path / "cells"


MALFORMED: dict[str, tuple[Callable[[Path, Path], Path], int, list[str]]] = {
    "other digest": (
        _one_cell_moved,
        5,
        ["data.npy", embryoid.SHA256["data.npy"], "has sha256", "cannot stand in"],
    ),
    "too many components": (lambda t, p: p, 6, ["holds 5", embryoid.ARTEFACT]),
    "no component": (lambda t, p: p, 0, ["n_dims is 0", "at least 1"]),
    "no such place": (lambda t, p: t / "nowhere", 5, ["nowhere", "no such file or folder"]),
    "empty folder": (_empty_folder, 5, ["cells", "data.npy", embryoid.ARTEFACT]),
    "not an npz": (_text, 5, ["cells.npz", "not the published"]),
    "no components": (
        _other_artefact(lambda x, labels: (x,)),
        5,
        ["['sample_labels'] are missing", "found ['pcs']"],
    ),
    "a day short": (
        _other_artefact(lambda x, labels: (x[:-1], labels[:-1])),
        5,
        ["3331", str(tuple(COUNTS))],
    ),
    "other cells": (
        _other_artefact(lambda x, labels: (x[::-1], labels)),
        5,
        ["mean position of a day", "at most 1e-4"],
    ),
    "four components": (
        _other_artefact(lambda x, labels: (x[:, :4], labels)),
        4,
        ["(16819, 4)", "5 or more"],
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_load_names_what_is_wrong(tmp_path: Path, published: Path, case: str) -> None:
    make, n_dims, named = MALFORMED[case]
    with pytest.raises(ValueError) as caught:
        embryoid.load(make(tmp_path, published), n_dims)
    for part in named:
        assert part in str(caught.value)


def test_raw_components_need_the_artefact(published: Path) -> None:
    with pytest.raises(ValueError, match="standardise false.*eb_velocity_v5.npz"):
        embryoid.load(published, 5, standardise=False)


@pytest.mark.parametrize("source", ["the config", embryoid.VARIABLE])
def test_a_named_place_that_is_not_there_is_an_error(tmp_path: Path, source: str) -> None:
    nowhere = str(tmp_path / "nowhere")
    path = nowhere if source == "the config" else None
    with pytest.raises(ValueError, match=f"{source} names .*nowhere, which does not exist; name"):
        embryoid.locate(path, {embryoid.VARIABLE: nowhere}, tmp_path)


def test_fetch_keeps_the_published_files_only(tmp_path: Path, published: Path, pair) -> None:
    www, out = tmp_path / "www", tmp_path / "out"
    _copy_pair(www, *pair)
    (www / "data.npy").write_bytes((published / "data.npy").read_bytes())
    write_artefact(www / embryoid.ARTEFACT, *pair)
    np.savez(www / "wrong.npz", pcs=pair[0][::-1], sample_labels=pair[1])
    np.save(www / "wrong.npy", pair[1][::-1])
    with serve(www) as address:
        urls = {name: f"{address}/{name}" for name in embryoid.URLS}
        assert sorted(urls) == ["data.npy", "eb_velocity_v5.npz", "sample_labels.npy"]
        for name in urls:
            embryoid.fetch(name, out / name, lambda line: None, urls)
        assert everything_in(out) == sorted(urls)
        np.testing.assert_array_equal(embryoid.load(out).x, pair[0])
        for name, wrong, says in (
            (embryoid.ARTEFACT, "wrong.npz", "mean position"),
            ("sample_labels.npy", "wrong.npy", embryoid.SHA256["sample_labels.npy"]),
        ):
            with pytest.raises(ValueError, match=says):
                embryoid.fetch(
                    name, tmp_path / "new" / name, lambda line: None, {name: f"{address}/{wrong}"}
                )
    assert everything_in(tmp_path / "new") == []
    with pytest.raises(ValueError, match="'cells.csv'.*data.npy"):
        embryoid.fetch("cells.csv", tmp_path / "x", lambda line: None)
