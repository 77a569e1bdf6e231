"""Methods that learn an energy from snapshots: one module each, found by its name (the ``kind``).

A module has two functions:

    fit(problem, settings, report) -> Fit
    energy(params, settings) -> Energy

``fit`` learns from the train rows of every seed; ``energy`` turns the parameters of one seed into an
Energy. Evaluation and figures see only the Energy and the scheme that predicts with it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from flax import serialization

from jko.couplings import CoupledRows
from jko.densities import SnapshotMixtures
from jko.energies import Energy
from jko.files import atomic_path
from jko.snapshots import Snapshots


class Problem(NamedTuple):
    """What a method may learn from.

    Attributes:
        snapshots: the population; a method reads train rows only.
        coupling: couplings of neighbouring train snapshots, where the method asks for them.
        density: densities of the train snapshots, where the method asks for them.
    """

    snapshots: Snapshots
    coupling: CoupledRows | None = None
    density: SnapshotMixtures | None = None


class Fit(NamedTuple):
    """A learned energy for each seed.

    Attributes:
        params: pytree of arrays with leading axis S.
        status: for each seed "ok", or why it has no usable energy, with the step.
        history: columns seed, epoch, loss.
    """

    params: Any
    status: list[str]
    history: pd.DataFrame


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


def save(fit: Fit, seeds: np.ndarray, path: str | Path) -> None:
    """Write parameters, seeds and status as msgpack."""
    content = {
        "params": jax.tree.map(np.asarray, fit.params),
        "seed": np.asarray(seeds),
        "status": list(fit.status),
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(serialization.msgpack_serialize(content))


def load(path: str | Path, settings: Mapping) -> tuple[list[Energy | None], list[str]]:
    """The Energy of each seed (None where the fit failed), and the status of each seed."""
    content = serialization.msgpack_restore(Path(path).read_bytes())
    status = content["status"]
    make = module(settings["kind"]).energy
    energies = [
        (
            make(jax.tree.map(lambda leaf, s=s: leaf[s], content["params"]), settings)
            if reason == "ok"
            else None
        )
        for s, reason in enumerate(status)
    ]
    return energies, status
