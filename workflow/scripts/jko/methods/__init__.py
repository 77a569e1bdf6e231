"""Methods that learn an energy from snapshots: one module each, found by its name (the ``kind``).

A module has two functions:

    fit(problem, settings, report) -> Fit
    energy(params, settings) -> Energy

``fit`` learns from the train rows of every seed; ``energy`` turns the parameters of one seed into
an Energy. A method that also learns a transport map has a third, which gives T(x, k) or None:

    transport(params, settings) -> Partial | None

and one with a posterior a fourth:

    uncertainty(params, settings) -> Uncertainty

Numbers of a whole fit that are to be metrics are entries of its parameters, and the module's SUMMARY names them.
Evaluation and figures see only what is Learned, and the scheme that predicts with the energy.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from flax import serialization
from jax.tree_util import Partial

from jko import couplings, densities, snapshots
from jko.couplings import CoupledRows
from jko.densities import SnapshotMixtures
from jko.energies import Energy
from jko.files import atomic_path
from jko.snapshots import Snapshots
from jko.uncertainty import Uncertainty


class Problem(NamedTuple):
    """What a method may learn from.

    Attributes:
        snapshots: the population; a method reads train rows only.
        coupling: couplings of neighbouring train snapshots, where the method asks for them.
        density: densities of the train snapshots, where the method asks for them.
        start: for each seed the energy that another method has learned, or None where it has none; where the
            method asks for it.
    """

    snapshots: Snapshots
    coupling: CoupledRows | None = None
    density: SnapshotMixtures | None = None
    start: Sequence[Energy | None] | None = None


class Fit(NamedTuple):
    """A learned energy for each seed.

    Attributes:
        params: pytree of arrays with leading axis S.
        status: for each seed "ok", or why it has no usable energy, with the step.
        history: columns seed, epoch, loss, and more where a method has them.
        kept: {epoch: params after it}, where a method was asked for some.
    """

    params: Any
    status: list[str]
    history: pd.DataFrame
    kept: Mapping[int, Any] = MappingProxyType({})


class Learned(NamedTuple):
    """What one seed of a fit has learned.

    Attributes:
        energy: of the population.
        transport: T(x, k), which takes a particle x (d,) of snapshot k ()
            to snapshot k + 1; None for none.
        uncertainty: of the energy; None where the method has no posterior.
        summary: numbers of the whole fit, of which the method may have none.
    """

    energy: Energy
    transport: Partial | None
    uncertainty: Uncertainty | None
    summary: Mapping[str, float]


def kinds() -> list[str]:
    """Names of all methods."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def module(kind: str) -> ModuleType:
    """The module of a method.

    Raises:
        ValueError: there is no such method.
    """
    if kind not in kinds():
        raise ValueError(f"method kind is {kind!r}; it must be one of {', '.join(kinds())}")
    return importlib.import_module(f"{__name__}.{kind}")


def summary_of(kind: str) -> tuple[str, ...]:
    """The names of the numbers of a whole fit."""
    return getattr(module(kind), "SUMMARY", ())


def load_problem(paths: Mapping[str, str | Path], start: Mapping | None = None) -> Problem:
    """The Problem of files: ``snapshots``, and ``coupling``, ``density`` and the fit ``start`` where they are.

    Args:
        start: settings of the method that has made the fit to start from.
    """
    loaders = {
        "snapshots": snapshots.load,
        "coupling": couplings.load,
        "density": densities.load,
        "start": lambda path: [found and found.energy for found in load(path, start)[0]],
    }
    return Problem(**{name: loaders[name](path) for name, path in paths.items()})


def save(fit: Fit, seeds: np.ndarray, path: str | Path) -> None:
    """Write parameters, seeds and status as msgpack."""
    content = {
        "params": jax.tree.map(np.asarray, fit.params),
        "seed": np.asarray(seeds),
        "status": list(fit.status),
        "kept": {
            str(epoch): jax.tree.map(np.asarray, params) for epoch, params in fit.kept.items()
        },
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(serialization.msgpack_serialize(content))


def load(path: str | Path, settings: Mapping) -> tuple[list[Learned | None], list[str]]:
    """What each seed has learned (None where the fit failed), and the status of each seed."""
    content = serialization.msgpack_restore(Path(path).read_bytes())
    return _learned(content["params"], content["status"], settings), content["status"]


def load_kept(path: str | Path, settings: Mapping) -> dict[int, list[Learned | None]]:
    """{epoch: what each seed had learned by then}, for the epochs that were kept."""
    content = serialization.msgpack_restore(Path(path).read_bytes())
    return {
        int(epoch): _learned(params, content["status"], settings)
        for epoch, params in content["kept"].items()
    }


def _learned(params: Any, status: list[str], settings: Mapping) -> list[Learned | None]:
    method, names = module(settings["kind"]), summary_of(settings["kind"])
    parts = [getattr(method, name, _without) for name in ("energy", "transport", "uncertainty")]
    found = []
    for s, reason in enumerate(status):
        of_seed = jax.tree.map(lambda leaf, s=s: leaf[s], params)
        if reason != "ok":
            found.append(None)
            continue
        summary = {name: float(of_seed[name]) for name in names}
        found.append(Learned(*(part(of_seed, settings) for part in parts), summary))
    return found


def _without(params: Any, settings: Mapping) -> None:
    """What a method does not have."""
