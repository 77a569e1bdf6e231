"""The embryoid body cells: 16,819 cells at five times, as principal components of their expression.

Origin: single-cell RNA of Moon et al., Nature Biotechnology 37 (2019), in the principal components
that Tong et al., TrajectoryNet, ICML 2020, published as ``eb_velocity_v5.npz``; its first five,
each standardised over all cells, were published again as ``data.npy`` and ``sample_labels.npy``.
These are the cells of the papers' tables: a file that holds anything else is an error.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jko import columns, download

VARIABLE = "JKO_EMBRYOID"
ARTEFACT = "eb_velocity_v5.npz"
PAIR = ("data.npy", "sample_labels.npy")
PAIR_DIMENSIONS = 5

_PAIR_URL = (
    "https://raw.githubusercontent.com/BasisResearch/wasserstein-residuals/"
    "b619394dd58d0ee5875b0fbcc808447eb12e380f/data/RNA_PCA_5/"
)
URLS = {
    "data.npy": _PAIR_URL + "data.npy",
    "sample_labels.npy": _PAIR_URL + "sample_labels.npy",
    ARTEFACT: "https://github.com/KrishnaswamyLab/TrajectoryNet/raw/master/data/" + ARTEFACT,
}
# The artefact has no published digest: it is known by its contents (see `check_cells`).
SHA256 = {
    "data.npy": "3d7b48827a12689f29dc41bbc4673430c8ee26431250ce20010bab1903c686de",
    "sample_labels.npy": "8e97086b3b69aae3add4d72e1d9f69fc6d73c433c10c988ac7e794a339d4b7c4",
}

# Cells per day range (days 0-3, 6-9, 12-15, 18-21, 24-27), and the mean of the first five
# standardised components in each: the published cells are known by these, rounding apart.
_CELLS = (2381, 4163, 3278, 3665, 3332)
_DAY_MEANS = np.array(
    [
        [1.099896, -1.406263, -0.795517, 0.361008, 0.562802],
        [0.521239, -0.542742, -0.201655, -0.325893, 0.002813],
        [0.016148, 0.179924, -0.031161, -0.025518, -0.535424],
        [-0.16925, 0.54917, 0.054352, 0.127079, -0.1575],
        [-1.266928, 0.901935, 0.791285, 0.034524, 0.294302],
    ]
)


class Cells(NamedTuple):
    """x: (n, d) coordinates; time: (n,) in 0..4, so that tau is 1 per day range."""

    x: np.ndarray
    time: np.ndarray


def files_needed(n_dims: int, standardise: bool = True) -> tuple[str, ...]:
    """Names of the files to download: five standardised components are the small pair, else all."""
    return PAIR if n_dims <= PAIR_DIMENSIONS and standardise else (ARTEFACT,)


def locate(
    path: str | None,
    environment: Mapping[str, str],
    resources: str | Path,
    needed: tuple[str, ...] = PAIR,
) -> Path | None:
    """Where the cells lie here: at the config's path, then JKO_EMBRYOID, then in ``resources``.

    Args:
        path: the path that the config names, or None.
        environment: the environment variables.
        resources: the folder of downloads (resources/embryoid).
        needed: names from `files_needed`; a download that lacks them does not count.

    Returns:
        A folder or an artefact file; None if the cells must be downloaded.

    Raises:
        ValueError: the config or the variable names a path that does not exist.
    """
    for source, given in (("the config", path), (VARIABLE, environment.get(VARIABLE))):
        if given:
            if not Path(given).exists():
                raise ValueError(
                    f"{source} names the embryoid cells at {given}, which does not exist; "
                    f"name a folder with {' and '.join(PAIR)}, or a file {ARTEFACT}, or nothing"
                )
            return Path(given)
    folder = Path(resources)
    if all((folder / name).is_file() for name in needed):
        return folder
    return folder / ARTEFACT if (folder / ARTEFACT).is_file() else None


def files_at(path: str | Path, needed: tuple[str, ...] = PAIR) -> tuple[Path, ...]:
    """The files to read at a place: the pair of npy files, or the one artefact.

    Args:
        path: a folder with the pair of npy files, with the full artefact or with both; or the
            artefact; or one of the pair.
        needed: names from `files_needed`.

    Raises:
        ValueError: no cells there, or only the pair where the full artefact is needed.
    """
    path = Path(path)
    if path.is_file() and path.name not in PAIR:
        return (path,)
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        raise ValueError(f"no embryoid cells at {path}: there is no such file or folder")
    has_pair = all((folder / name).is_file() for name in PAIR)
    if has_pair and needed == PAIR:
        return tuple(folder / name for name in PAIR)
    if (folder / ARTEFACT).is_file():
        return (folder / ARTEFACT,)
    if has_pair:
        raise ValueError(
            f"{folder} holds {PAIR_DIMENSIONS} standardised components; more (n_dims above "
            f"{PAIR_DIMENSIONS}) or raw ones (standardise false) need the full artefact {ARTEFACT}"
        )
    raise ValueError(f"{folder} holds neither {' and '.join(PAIR)} nor {ARTEFACT}")


def load(path: str | Path, n_dims: int = PAIR_DIMENSIONS, standardise: bool = True) -> Cells:
    """Read the published cells from a place that `files_at` understands.

    Args:
        path: file or folder.
        n_dims: number of leading principal components.
        standardise: each component at mean 0 and standard deviation 1 over all cells.

    Raises:
        ValueError: no cells there, other cells than the published ones, or components that the pair
            of npy files does not hold.
    """
    if n_dims < 1:
        raise ValueError(f"n_dims is {n_dims}; at least 1 principal component is needed")
    files = files_at(path, files_needed(n_dims, standardise))
    if len(files) == 1:
        return _load_artefact(files[0], n_dims, standardise)
    return _load_pair(files[0].parent, n_dims)


def _load_pair(folder: Path, n_dims: int) -> Cells:
    for name in PAIR:
        found = download.sha256_of(folder / name)
        if found != SHA256[name]:
            raise ValueError(
                f"{folder / name} has sha256 {found}, but the published file has {SHA256[name]}; "
                "other cells cannot stand in for the published ones"
            )
    x = np.load(folder / "data.npy", allow_pickle=False)
    labels = np.load(folder / "sample_labels.npy", allow_pickle=False)
    # The pair is standardised as it stands; a second pass would only add rounding.
    kept = columns.choose(x, n_dims, standardise=False, where=str(folder / "data.npy"))
    return Cells(x=kept.x, time=labels.astype(np.float64))


def _load_artefact(path: Path, n_dims: int, standardise: bool) -> Cells:
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            missing = [name for name in ("pcs", "sample_labels") if name not in file.files]
            if missing:
                raise ValueError(f"arrays {missing} are missing; found {sorted(file.files)}")
            pcs, labels = file["pcs"], file["sample_labels"]
        check_cells(pcs, labels)
    except (zipfile.BadZipFile, EOFError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is not the published {ARTEFACT}: {error}") from error
    kept = columns.choose(pcs, n_dims, standardise, where=f"{path}: pcs")
    return Cells(x=kept.x, time=labels.astype(np.float64))


def check_cells(pcs: np.ndarray, labels: np.ndarray) -> None:
    """Raise ValueError unless these are the published cells, by number and mean position per day.

    Args:
        pcs: (n, m >= 5) principal components, in any units.
        labels: (n,) index of the day range.
    """
    counts = tuple(int(np.sum(labels == k)) for k in range(len(_CELLS)))
    if labels.shape != (sum(_CELLS),) or counts != _CELLS:
        raise ValueError(
            f"it labels {counts} cells as 0..4 of {labels.size}; the published cells are {_CELLS}"
        )
    if pcs.ndim != 2 or len(pcs) != len(labels) or pcs.shape[1] < PAIR_DIMENSIONS:
        raise ValueError(f"pcs has shape {pcs.shape}; {len(labels)} rows of 5 or more are needed")
    x = columns.choose(pcs, PAIR_DIMENSIONS, standardise=True, where="pcs").x
    means = np.stack([x[labels == k].mean(axis=0) for k in range(len(_CELLS))])  # (5, 5)
    # The reference is rounded to six decimals; single precision changes a mean by less than 1e-5.
    apart = float(np.abs(means - _DAY_MEANS).max())
    if apart > 1e-4:
        raise ValueError(
            f"the mean position of a day is {apart:.3g} standard deviations from that of the "
            "published cells; at most 1e-4 is rounding"
        )


def fetch(
    name: str,
    path: str | Path,
    report: Callable[[str], None],
    urls: Mapping[str, str] = URLS,
) -> None:
    """Download one of the published files to ``path``; a wrong one is removed and is an error."""
    if name not in urls:
        raise ValueError(f"no embryoid file is called {name!r}; there are {sorted(urls)}")
    download.fetch(urls[name], path, SHA256.get(name), report, check=_checks.get(name))


def _check_artefact(path: Path) -> None:
    _load_artefact(path, PAIR_DIMENSIONS, standardise=True)


_checks: dict[str, Callable[[Path], None]] = {ARTEFACT: _check_artefact}
