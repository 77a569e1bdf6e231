"""Raw counts of a time course to points with a time: the steps of the original embryoid body study.

Moon et al., Nature Biotechnology 37 (2019), and their public tutorial: cells by library size within
each sample, genes by the number of cells that show them, dying cells by their mitochondrial share,
then library-size normalisation, a square root, and principal components.
"""

from __future__ import annotations

import functools
import gzip
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse

from jko import columns, download, io_h5ad

if TYPE_CHECKING:
    from scanpy import AnnData

MITOCHONDRIAL = "MT-"
_NEEDED = {
    "barcodes": ("barcodes.tsv",),
    "genes": ("genes.tsv", "features.tsv"),
    "matrix": ("matrix.mtx",),
}


class Sample(NamedTuple):
    """Counts of one time: matrix (cells, genes), names of cells, ids and names of genes."""

    matrix: scipy.sparse.csr_matrix
    cells: np.ndarray
    gene_ids: np.ndarray
    gene_names: np.ndarray


def read(path: str | Path, times: Mapping[str, float]) -> AnnData:
    """Read a folder of samples, or a zip file of one, as `read_folder` does."""
    path = Path(path)
    if path.is_dir():
        return read_folder(path, times)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such folder or zip file of counts")
    with tempfile.TemporaryDirectory(prefix="jko-counts-") as scratch:
        folder = Path(scratch) / "counts"
        download.unzip(path, folder)
        try:
            return read_folder(folder, times)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def read_folder(folder: str | Path, times: Mapping[str, float]) -> AnnData:
    """Read one sample per time and stack them.

    Args:
        folder: holds, itself or in a sub-folder, per name in ``times`` a folder in 10x form
            (barcodes.tsv, genes.tsv or features.tsv, matrix.mtx, each also as .gz) or a file
            {name}.h5ad with counts in X.
        times: the time of each sample, by the name of its folder or file.

    Returns:
        AnnData of counts (cells, genes that every sample lists) with obs "time" and "sample";
        var_names are gene names made unique, var "gene_id" what the samples were matched by.

    Raises:
        ValueError: a sample or one of its files is missing, files do not fit together, a count is
            negative or no whole number, or the samples have no gene in common.
    """
    import scanpy

    if len(times) < 2:
        raise ValueError(
            f"times names {len(times)} sample(s) {list(times)}; at least two are needed"
        )
    root = _find_root(Path(folder), tuple(times))
    samples = {name: _read_sample(root, name) for name in times}
    ids = [pd.Index(sample.gene_ids) for sample in samples.values()]
    common = functools.reduce(lambda a, b: a.intersection(b, sort=False), ids)
    if not len(common):
        raise ValueError(f"{root}: the samples {list(times)} have no gene in common")
    matrix = scipy.sparse.vstack(
        [
            sample.matrix[:, index.get_indexer(common)]
            for sample, index in zip(samples.values(), ids, strict=True)
        ],
        format="csr",
    )
    first = next(iter(samples.values()))
    sizes = [len(sample.cells) for sample in samples.values()]
    names = io_h5ad.unique_names(first.gene_names[ids[0].get_indexer(common)])
    return scanpy.AnnData(
        X=matrix,
        obs=pd.DataFrame(
            {
                "time": np.repeat([float(t) for t in times.values()], sizes),
                "sample": np.repeat(list(times), sizes),
            },
            index=pd.Index([f"{name}:{cell}" for name, s in samples.items() for cell in s.cells]),
        ),
        var=pd.DataFrame({"gene_id": common.to_numpy()}, index=names),
    )


def _find_root(folder: Path, names: tuple[str, ...]) -> Path:
    """The folder that holds the samples; ValueError naming those that are missing."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder of counts")

    def missing(root: Path) -> list[str]:
        return [n for n in names if not (root / n).is_dir() and not (root / f"{n}.h5ad").is_file()]

    roots = [folder, *sorted(child for child in folder.iterdir() if child.is_dir())]
    best = min(roots, key=lambda root: len(missing(root)))
    if missing(best):
        found = sorted(child.name for child in best.iterdir())
        raise ValueError(
            f"{best} lacks the sample(s) {missing(best)}, each a folder in 10x form or an .h5ad "
            f"file; found {found}"
        )
    return best


def _read_sample(root: Path, name: str) -> Sample:
    if (root / name).is_dir():
        sample = _read_10x(root / name)
        place = root / name
    else:
        place = root / f"{name}.h5ad"
        matrix, cells, genes = io_h5ad.read_matrix(place)
        sample = Sample(matrix.astype(np.float64), cells, genes, genes)
    values = sample.matrix.data
    bad = np.flatnonzero(~((values >= 0) & (values == np.floor(values)) & np.isfinite(values)))
    if len(bad):
        raise ValueError(
            f"{place} holds the count {values[bad[0]]:g} (and {len(bad) - 1} more like it); raw "
            "counts are whole numbers, 0 or more"
        )
    for kind, ids in (("gene", sample.gene_ids), ("cell", sample.cells)):
        repeated = ids[pd.Index(ids).duplicated()]
        if len(repeated):
            raise ValueError(
                f"{place} lists the {kind} {str(repeated[0])!r} twice; ids must be unique"
            )
    return sample


def _read_10x(folder: Path) -> Sample:
    """Read matrix.mtx (genes, cells), barcodes.tsv (cells) and genes or features.tsv (id, name)."""
    files = {kind: _find_file(folder, names) for kind, names in _NEEDED.items()}
    cells = _read_table(files["barcodes"]).iloc[:, 0].to_numpy(dtype=str)
    genes = _read_table(files["genes"])
    try:
        matrix = scipy.io.mmread(files["matrix"])
    except (ValueError, OverflowError, OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{files['matrix']} is not a whole Matrix Market file ({error})"
        ) from error
    if matrix.shape != (len(genes), len(cells)):
        raise ValueError(
            f"{files['matrix']} has {matrix.shape[0]} rows and {matrix.shape[1]} columns, but "
            f"{files['genes'].name} lists {len(genes)} genes and {files['barcodes'].name} "
            f"{len(cells)} cells"
        )
    ids = genes.iloc[:, 0].to_numpy(dtype=str)
    return Sample(
        matrix=scipy.sparse.csr_matrix(matrix.T, dtype=np.float64),
        cells=cells,
        gene_ids=ids,
        gene_names=genes.iloc[:, 1].to_numpy(dtype=str) if genes.shape[1] > 1 else ids,
    )


def _find_file(folder: Path, names: tuple[str, ...]) -> Path:
    wanted = [*names, *(f"{name}.gz" for name in names)]
    for name in wanted:
        if (folder / name).is_file():
            return folder / name
    found = sorted(child.name for child in folder.iterdir())
    raise ValueError(f"{folder} has none of {wanted}; found {found}")


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, EOFError) as error:
        raise ValueError(f"{path} is not a table with tabs between columns ({error})") from error
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a whole gzip file ({error})") from error


def preprocess(adata: AnnData, settings: Mapping[str, Any]) -> AnnData:
    """Filter cells and genes, normalise, transform, and project on principal components.

    1. cells of a library size (sum of counts) between two percentiles of their own sample, ends
       included, and, if asked, of at least min_genes genes;
    2. genes that at least min_cells cells show;
    3. cells whose share of mitochondrial counts (names that begin with MT-, in any case) is at
       most a percentile over all cells; cells that steps 2 left without counts are dropped;
    4. every cell scaled to the median library size;
    5. square root, or log(1 + count);
    6. principal components of the centred genes; each is turned so that its gene of largest weight
       weighs positively, which makes the result the same on every machine;
    7. if asked, each component at mean 0 and standard deviation 1 over all cells.

    Args:
        adata: counts from `read_folder`; not changed.
        settings: library_percentiles (two numbers in 0..100), min_genes (int or None), min_cells
            (int), mitochondrial_percentile (0..100 or None), transform (sqrt | log1p), n_dims
            (int), standardise (bool).

    Returns:
        AnnData of the kept cells and genes, with obsm "X_pca" (n, n_dims), varm "PCs" (genes,
        n_dims) and uns "pca"; obs "time" is kept.

    Raises:
        ValueError: no cell or gene is left, a sample lost its cells, or n_dims is too large.
    """
    import scanpy

    kept = _filter(adata, settings)
    n_dims, most = settings["n_dims"], min(kept.shape) - 1
    if not 1 <= n_dims <= most:
        raise ValueError(
            f"n_dims is {n_dims}, but {kept.n_obs} cells and {kept.n_vars} genes are left after "
            f"the filters, which give 1..{most} components"
        )
    scanpy.pp.normalize_total(kept, target_sum=None)
    transforms = {"sqrt": scanpy.pp.sqrt, "log1p": scanpy.pp.log1p}
    if settings["transform"] not in transforms:
        raise ValueError(
            f"transform is {settings['transform']!r}; it must be one of {list(transforms)}"
        )
    transforms[settings["transform"]](kept)
    scanpy.pp.pca(
        kept,
        n_comps=n_dims,
        zero_center=True,
        svd_solver="arpack",
        mask_var=None,
        random_state=0,
        dtype="float64",
    )
    loadings = kept.varm["PCs"]  # (genes, n_dims)
    largest = np.abs(loadings).argmax(axis=0)
    sign = np.sign(loadings[largest, np.arange(n_dims)])
    kept.varm["PCs"] = loadings * sign
    chosen = columns.choose(
        kept.obsm["X_pca"] * sign, None, settings["standardise"], "the principal components"
    )
    kept.obsm["X_pca"] = chosen.x
    return kept


def _filter(adata: AnnData, settings: Mapping[str, Any]) -> AnnData:
    """Steps 1 to 3 of `preprocess`."""
    import scanpy

    low, high = settings["library_percentiles"]
    if not 0 <= low < high <= 100:
        raise ValueError(f"library_percentiles are {[low, high]}; they must rise within 0..100")
    size = np.asarray(adata.X.sum(axis=1)).ravel()  # (n,)
    keep = np.zeros(adata.n_obs, dtype=bool)
    for sample in adata.obs["sample"].unique():
        rows = np.flatnonzero(adata.obs["sample"] == sample)
        bounds = np.percentile(size[rows], [low, high])
        keep[rows] = (size[rows] >= bounds[0]) & (size[rows] <= bounds[1])
    if settings.get("min_genes") is not None:
        keep &= np.asarray((adata.X > 0).sum(axis=1)).ravel() >= settings["min_genes"]
    kept = adata[keep].copy()
    _check_left(kept, adata, "library_percentiles and min_genes")
    scanpy.pp.filter_genes(kept, min_cells=settings["min_cells"])
    if kept.n_vars == 0:
        raise ValueError(
            f"no gene is seen in {settings['min_cells']} of the {kept.n_obs} cells; lower min_cells"
        )
    kept = kept[np.asarray(kept.X.sum(axis=1)).ravel() > 0].copy()
    _check_left(kept, adata, "min_cells")
    percentile = settings.get("mitochondrial_percentile")
    if percentile is None:
        return kept
    if not 0 <= percentile <= 100:
        raise ValueError(
            f"mitochondrial_percentile is {percentile}; it must be within 0..100 or null"
        )
    mitochondrial = kept.var_names.str.upper().str.startswith(MITOCHONDRIAL)
    if not mitochondrial.any():
        raise ValueError(
            f"no gene name begins with {MITOCHONDRIAL}, so mitochondrial_percentile {percentile} "
            "cannot be applied; set it to null"
        )
    total = np.asarray(kept.X.sum(axis=1)).ravel()
    share = np.asarray(kept.X[:, mitochondrial].sum(axis=1)).ravel() / total
    kept = kept[share <= np.percentile(share, percentile)].copy()
    _check_left(kept, adata, "mitochondrial_percentile")
    return kept


def _check_left(kept: AnnData, adata: AnnData, by: str) -> None:
    """Raise ValueError if a sample has fewer cells left than a snapshot needs."""
    left, before = kept.obs["sample"].value_counts(), adata.obs["sample"].value_counts()
    for sample in before.index:
        if left.get(sample, 0) < io_h5ad.FEWEST_CELLS:
            raise ValueError(
                f"sample {sample!r} has {left.get(sample, 0)} cell(s) left of {before[sample]} "
                f"after {by}; a snapshot needs at least {io_h5ad.FEWEST_CELLS}"
            )
