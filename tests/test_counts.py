"""Raw counts in the published folder form, from the archive to the snapshots."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse

from jko import counts, download, snapshots
from test_download import everything_in, serve

TIMES = {"T0_1A": 0.0, "T2_3B": 1.0, "T4_5C": 2.0, "T6_7D": 3.0, "T8_9E": 4.0}
GENES = 60
SETTINGS: dict[str, Any] = {
    "library_percentiles": [20, 80],
    "min_genes": None,
    "min_cells": 10,
    "mitochondrial_percentile": 90,
    "transform": "sqrt",
    "n_dims": 4,
    "standardise": True,
}


def gene_names() -> list[str]:
    """Ten mitochondrial genes, one name that stands twice, and genes that hardly show."""
    names = [f"MT-{i}" for i in range(10)] + [f"G{i}" for i in range(GENES - 10)]
    names[30] = names[31] = "TWICE"
    return names


def make_matrix(k: int, n: int = 60) -> np.ndarray:
    """(n, GENES) counts of the k-th time; even and odd cells are two kinds with own genes."""
    rng = np.random.default_rng(100 + k)
    mean = np.full((n, GENES), 4.0)
    mean[0::2, 10:30] *= 6.0
    mean[1::2, 30:50] *= 6.0
    mean[:, 50:55] += 2.0 * k
    mean[:, 58:] = 0.0
    return rng.poisson(mean * rng.uniform(0.6, 1.6, (n, 1)))


def write_10x(folder: Path, matrix: np.ndarray, genes: list[str] | None = None) -> None:
    """Write counts (cells, genes) as matrix.mtx (genes, cells), barcodes.tsv and genes.tsv."""
    folder.mkdir(parents=True, exist_ok=True)
    names = gene_names() if genes is None else genes
    scipy.io.mmwrite(folder / "matrix.mtx", scipy.sparse.coo_matrix(matrix.T), field="integer")
    barcodes = [f"AAAC{i:04d}-1" for i in range(len(matrix))]
    (folder / "barcodes.tsv").write_text("".join(f"{b}\n" for b in barcodes))
    lines = [f"ENSG{i:05d}\t{name}\n" for i, name in enumerate(names)]
    (folder / "genes.tsv").write_text("".join(lines))


def write_study(root: Path) -> Path:
    """The five folders of the published archive."""
    for k, name in enumerate(TIMES):
        write_10x(root / "scRNAseq" / name, make_matrix(k))
    return root


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def own_study(study: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(study, tmp_path / "study"))


def zip_folder(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def test_from_the_published_archive_to_the_snapshots(study: Path, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    archive = zip_folder(study, tmp_path / "www" / "file_downloaded")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    target = tmp_path / "resources" / "counts.zip"
    with serve(tmp_path / "www") as address:
        url = f"{address}/file_downloaded"
        download.fetch(url, target, digest, lambda line: None)
        with pytest.raises(ValueError, match=f"{digest}, but {'f' * 64}"):
            download.fetch(url, tmp_path / "other" / "counts.zip", "f" * 64, lambda line: None)
    assert everything_in(tmp_path / "other") == []
    cells = counts.preprocess(counts.read(target, TIMES), SETTINGS)
    x, time = cells.obsm["X_pca"], cells.obs["time"].to_numpy()
    split = snapshots.split(x, time, range(3), 0.6)
    assert split.time.tolist() == list(TIMES.values()) and split.dimension == 4
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-10)
    # 36 of 60 cells lie between the percentiles of each sample, and nine tenths of those remain.
    assert len(x) == pytest.approx(0.9 * 5 * 36, abs=2)


def test_the_folder_is_read_as_it_was_written(study: Path) -> None:
    adata = counts.read(study, TIMES)
    expected = np.vstack([make_matrix(k) for k in range(5)])
    np.testing.assert_array_equal(adata.X.toarray(), expected)
    np.testing.assert_array_equal(adata.obs["time"], np.repeat(list(TIMES.values()), 60))
    assert adata.var_names.is_unique and list(adata.var_names[30:32]) == ["TWICE", "TWICE-1"]
    assert adata.obs_names.is_unique and adata.obs_names[60] == "T2_3B:AAAC0000-1"


@pytest.mark.parametrize("form", ["gzip", "features", "h5ad"])
def test_other_forms_hold_the_same_counts(study: Path, own_study: Path, form: str) -> None:
    for k, name in enumerate(TIMES):
        folder = own_study / "scRNAseq" / name
        if form == "features":
            lines = (folder / "genes.tsv").read_text().splitlines()
            (folder / "genes.tsv").unlink()
            text = "".join(f"{line}\tGene Expression\n" for line in lines)
            (folder / "features.tsv").write_text(text)
        elif form == "gzip":
            for file in list(folder.iterdir()):
                file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
                file.unlink()
        else:
            shutil.rmtree(folder)
            names = pd.Index([f"ENSG{i:05d}" for i in range(GENES)])
            cells = pd.Index([f"AAAC{i:04d}-1" for i in range(60)])
            anndata.AnnData(
                X=scipy.sparse.csr_matrix(make_matrix(k)),
                obs=pd.DataFrame(index=cells),
                var=pd.DataFrame(index=names),
            ).write_h5ad(folder.with_suffix(".h5ad"))
    first, second = counts.read(study, TIMES), counts.read(own_study / "scRNAseq", TIMES)
    np.testing.assert_array_equal(first.X.toarray(), second.X.toarray())
    assert list(first.obs_names) == list(second.obs_names)
    assert list(first.var["gene_id"]) == list(second.var["gene_id"])


def test_genes_are_matched_by_id_and_not_by_place(tmp_path: Path) -> None:
    for name, order in (("a", [0, 1, 2, 3]), ("b", [3, 1, 0])):
        folder = tmp_path / name
        write_10x(folder, np.tile(10 * np.array(order) + 1, (5, 1)), ["x"] * len(order))
        lines = [f"ENSG{i}\tgene{i}\n" for i in order]
        (folder / "genes.tsv").write_text("".join(lines))
    adata = counts.read_folder(tmp_path, {"a": 0, "b": 2})
    assert list(adata.var_names) == ["gene0", "gene1", "gene3"]
    np.testing.assert_array_equal(adata.X.toarray(), np.tile([1, 11, 31], (10, 1)))


def by_hand(matrix: np.ndarray, transform: str, n_dims: int) -> np.ndarray:
    """Steps 4 to 6 with dense numpy: median library size, transform, singular values."""
    size = matrix.sum(axis=1, keepdims=True)
    scaled = matrix / size * np.median(size)
    y = np.sqrt(scaled) if transform == "sqrt" else np.log(1 + scaled)
    _, _, v = np.linalg.svd(y - y.mean(axis=0), full_matrices=False)
    v = v[:n_dims]
    v = v * np.sign(v[np.arange(n_dims), np.abs(v).argmax(axis=1)])[:, None]
    return (y - y.mean(axis=0)) @ v.T


@pytest.mark.parametrize("transform", ["sqrt", "log1p"])
def test_components_agree_with_dense_linear_algebra(study: Path, transform: str) -> None:
    adata = counts.read(study, TIMES)
    before = adata.X.toarray()
    settings = SETTINGS | {"transform": transform, "standardise": False}
    cells = counts.preprocess(adata, settings)
    np.testing.assert_array_equal(adata.X.toarray(), before)
    left = adata[cells.obs_names, cells.var_names].X.toarray()
    np.testing.assert_allclose(cells.obsm["X_pca"], by_hand(left, transform, 4), atol=1e-8)
    again = counts.preprocess(adata, settings)
    np.testing.assert_array_equal(cells.obsm["X_pca"], again.obsm["X_pca"])


def test_each_filter_keeps_what_it_says(study: Path) -> None:
    adata = counts.read(study, TIMES)
    everything = {"library_percentiles": [0, 100], "min_cells": 1, "mitochondrial_percentile": None}
    cells = counts.preprocess(adata, SETTINGS | everything)
    assert cells.n_obs == 300 and cells.n_vars == 58  # two genes are never seen
    sizes = adata.X.toarray().sum(axis=1).reshape(5, 60)
    cells = counts.preprocess(adata, SETTINGS | everything | {"library_percentiles": [20, 80]})
    kept = np.isin(adata.obs_names, cells.obs_names).reshape(5, 60)
    for k in range(5):
        low, high = np.percentile(sizes[k], [20, 80])
        np.testing.assert_array_equal(kept[k], (low <= sizes[k]) & (sizes[k] <= high))
    cells = counts.preprocess(adata, SETTINGS | everything | {"mitochondrial_percentile": 90})
    share = adata.X.toarray()[:, :10].sum(axis=1) / sizes.ravel()
    kept = np.isin(adata.obs_names, cells.obs_names)
    assert kept.sum() == 270 and share[kept].max() < share[~kept].min()
    seen = (adata.X.toarray() > 0).sum(axis=1)
    few = int(np.median(seen))
    cells = counts.preprocess(adata, SETTINGS | everything | {"min_genes": few})
    np.testing.assert_array_equal(np.isin(adata.obs_names, cells.obs_names), seen >= few)


def test_a_planted_structure_is_found(study: Path) -> None:
    cells = counts.preprocess(counts.read(study, TIMES), SETTINGS)
    even = cells.obs_names.str.extract(r"(\d{4})-1$")[0].astype(int).to_numpy() % 2 == 0
    x, time = cells.obsm["X_pca"], cells.obs["time"].to_numpy()
    # The first component tells the two kinds of cells apart without an error.
    assert (x[even, 0].max() < x[~even, 0].min()) or (x[even, 0].min() > x[~even, 0].max())
    # The genes that rise with time make another component follow it.
    assert max(abs(np.corrcoef(x[:, j], time)[0, 1]) for j in range(1, 4)) > 0.8


def _edit(name: str, change: Callable[[str], str]) -> Callable[[Path], object]:
    def damage(root: Path) -> None:
        file = root / "scRNAseq" / "T4_5C" / name
        file.write_text(change(file.read_text()))

    return damage


def _entry(value: str, field: str = "integer") -> Callable[[str], str]:
    """Put ``value`` in the place of the first entry of a Matrix Market file."""

    def change(text: str) -> str:
        lines = text.replace("integer", field).splitlines()
        first = next(i for i, line in enumerate(lines) if not line.startswith("%")) + 1
        lines[first] = " ".join([*lines[first].split()[:2], value])
        return "\n".join(lines) + "\n"

    return change


def _lines(keep: int) -> Callable[[str], str]:
    return lambda text: "".join(text.splitlines(keepends=True)[:keep])


def _same_cell_twice(text: str) -> str:
    return text.replace("AAAC0007-1", "AAAC0008-1")


def _other_genes(root: Path) -> None:
    file = root / "scRNAseq" / "T4_5C" / "genes.tsv"
    file.write_text(file.read_text().replace("ENSG", "ENSMUSG"))


def _half_gzip(root: Path) -> None:
    file = root / "scRNAseq" / "T4_5C" / "matrix.mtx"
    packed = gzip.compress(file.read_bytes())
    file.with_name("matrix.mtx.gz").write_bytes(packed[: len(packed) // 2])
    file.unlink()


def _remove(name: str) -> Callable[[Path], object]:
    def damage(root: Path) -> None:
        target = root / "scRNAseq" / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return damage


# What is done to the folders, which settings differ, and what the message must name.
MALFORMED: dict[str, tuple[Callable[[Path], object], Mapping[str, Any], list[str]]] = {
    "no sample": (_remove("T4_5C"), {}, ["['T4_5C']", "'T2_3B'", ".h5ad"]),
    "no matrix": (_remove("T4_5C/matrix.mtx"), {}, ["T4_5C", "matrix.mtx.gz", "'genes.tsv'"]),
    "no genes": (_remove("T4_5C/genes.tsv"), {}, ["T4_5C", "features.tsv", "'barcodes.tsv'"]),
    "fewer barcodes": (_edit("barcodes.tsv", _lines(59)), {}, ["60 columns", "59 cells"]),
    "fewer genes": (_edit("genes.tsv", _lines(50)), {}, ["60 rows", "50 genes"]),
    "empty barcodes": (_edit("barcodes.tsv", _lines(0)), {}, ["barcodes.tsv", "not a table"]),
    "same cell twice": (
        _edit("barcodes.tsv", _same_cell_twice),
        {},
        ["T4_5C", "the cell 'AAAC0008-1' twice"],
    ),
    "other genes": (_other_genes, {}, ["no gene in common", "'T4_5C'"]),
    "half a matrix": (_edit("matrix.mtx", _lines(500)), {}, ["matrix.mtx", "not a whole Matrix"]),
    "half a gzip": (_half_gzip, {}, ["matrix.mtx.gz", "not a whole Matrix"]),
    "negative": (_edit("matrix.mtx", _entry("-3")), {}, ["T4_5C", "count -3", "0 or more"]),
    "half a count": (
        _edit("matrix.mtx", _entry("1.5", "real")),
        {},
        ["T4_5C", "count 1.5", "whole numbers"],
    ),
    "no cells left": (
        lambda r: None,
        {"min_genes": 61},
        ["'T", "0 cell(s) left of 60", "min_genes"],
    ),
    "no genes left": (lambda r: None, {"min_cells": 1000}, ["no gene", "1000", "min_cells"]),
    "too many dimensions": (lambda r: None, {"n_dims": 58}, ["n_dims is 58", "1..57"]),
    "no dimension": (lambda r: None, {"n_dims": 0}, ["n_dims is 0", "1..57"]),
    "percentiles fall": (lambda r: None, {"library_percentiles": [80, 20]}, ["[80, 20]", "0..100"]),
    "percentile": (lambda r: None, {"mitochondrial_percentile": 101}, ["101", "0..100"]),
    "transform": (lambda r: None, {"transform": "cbrt"}, ["'cbrt'", "['sqrt', 'log1p']"]),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_counts_are_an_error_in_words(own_study: Path, case: str) -> None:
    damage, settings, named = MALFORMED[case]
    damage(own_study)
    with pytest.raises(ValueError) as caught:
        counts.preprocess(counts.read(own_study, TIMES), SETTINGS | settings)
    for part in named:
        assert part in str(caught.value)


def test_without_mitochondrial_genes_the_filter_must_be_off(tmp_path: Path) -> None:
    for k, name in enumerate("ab"):
        write_10x(tmp_path / name, make_matrix(k), [f"G{i}" for i in range(GENES)])
    adata = counts.read_folder(tmp_path, {"a": 0, "b": 1})
    with pytest.raises(ValueError, match="begins with MT-.*percentile 90.*null"):
        counts.preprocess(adata, SETTINGS)
    assert counts.preprocess(adata, SETTINGS | {"mitochondrial_percentile": None}).n_obs > 0


def test_two_samples_at_least(study: Path) -> None:
    with pytest.raises(ValueError, match=r"1 sample\(s\) \['T0_1A'\]; at least two"):
        counts.read_folder(study, {"T0_1A": 0.0})


@pytest.mark.parametrize("case", ["truncated", "leads outside", "absent"])
def test_a_malformed_archive_is_an_error_in_words(study: Path, tmp_path: Path, case: str) -> None:
    archive = tmp_path / "counts.zip"
    says = {
        "truncated": "not a whole zip file",
        "leads outside": "outside its folder",
        "absent": "no such folder or zip file",
    }[case]
    if case != "absent":
        zip_folder(study, archive)
    if case == "truncated":
        archive.write_bytes(archive.read_bytes()[:-500])
    if case == "leads outside":
        with zipfile.ZipFile(archive, "a") as file:
            file.writestr("scRNAseq/../../evil.txt", "x")
    with pytest.raises(ValueError, match=says) as caught:
        counts.read(archive, TIMES)
    assert str(archive) in str(caught.value)
    assert not list(tmp_path.rglob("evil.txt"))
