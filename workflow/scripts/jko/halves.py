"""Learn a potential on two halves of the particles; each half says how much of the other's to believe.

V = a (V_A + V_B) / 2, with V_A learned on one half A of the train particles of every snapshot and V_B on the other,
B. The particles of B, which V_A has not seen, show how far V_A really falls from snapshot to snapshot, and
the step of the mean potential U = (V_A + V_B) / 2 how far it ought to:

    fall      O_A = sum_k E_k[V_A(x)] - E_{k+1}[V_A(x)]
    explicit  P_A = sum_k E_k[V_A(x) - V_A(x - tau grad U(x))]
    implicit  P_A = sum_k E_{k+1}[V_A(x + tau grad U(x)) - V_A(x)]

with all means over B, and a = (O_A + O_B) / (P_A + P_B), between 0 and 1. For U = V both are the same but for the
sampling of B. To first order in tau they are tau sum_k E[grad V_A . grad V] and tau sum_k E[grad V_A . grad U], so that
a is the factor that brings a grad U nearest to grad V; the noise of B is independent of V_A, and
what V_A has taken from the noise of A alone does not show in O_A. The true potential is not asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jko import couplings, neural
from jko.energies import Energy
from jko.snapshots import Snapshots
from jko.solvers import Scheme

# Seeds the halves apart from every other use of a dataset's seeds.
_STREAM = 8


def halved(snapshots: Snapshots) -> Snapshots:
    """The snapshots with two seeds for each one, in turn, which train on disjoint halves of its train rows."""
    train, seeds = [], []
    for s, seed in enumerate(snapshots.seed):
        rng = np.random.default_rng([int(seed), _STREAM])
        masks = np.zeros((2, len(snapshots.x)), bool)
        for k in range(len(snapshots.time)):
            rows = rng.permutation(snapshots.rows(s, "train", k))
            masks[0, rows[::2]] = masks[1, rows[1::2]] = True
        train.append(masks)
        seeds.append(np.random.SeedSequence([int(seed), _STREAM]).generate_state(2))
    return dataclasses.replace(
        snapshots,
        seed=np.concatenate(seeds).astype(np.int64),
        train=np.concatenate(train),
        test=np.repeat(snapshots.test, 2, axis=0),
    )


def fit(
    learn: Callable[..., Any], problem: Any, settings: Mapping, report: Callable[[str], None]
) -> Any:
    """Learn on both halves of every seed by ``learn``, and weigh the mean; history is the mean of the halves.

    Args:
        learn: (problem, settings, report) -> Fit, as `fit` of every method (:mod:`jko.methods`).
        problem: the Problem; halves are coupled exactly, anew.

    Returns:
        Fit, for :func:`energy`.

    Raises:
        ValueError: the energy is to have more than a potential, or a half has fewer than two particles.
    """
    if settings["terms"] != ["potential"]:
        raise ValueError(f"halves is for terms [potential], not {settings['terms']}")
    parts = halved(problem.snapshots)
    coupling = couplings.couple_snapshots(parts, {"kind": "exact"}, report)
    found = learn(problem._replace(snapshots=parts, coupling=coupling), settings, report)
    status = [
        next((why for why in pair if why != "ok"), "ok")
        for pair in zip(found.status[::2], found.status[1::2], strict=True)
    ]
    seeds = dict(zip(parts.seed, np.repeat(problem.snapshots.seed, 2), strict=True))
    history = found.history.assign(seed=found.history["seed"].map(seeds))
    history = history.groupby(["seed", "epoch"], sort=False).mean().reset_index()
    kept = {epoch: weighed(params, parts, settings) for epoch, params in found.kept.items()}
    params = weighed(found.params, parts, settings)
    report(f"weight of the mean of two halves: {' '.join(f'{a:.3f}' for a in params['share'])}")
    return found._replace(params=params, status=status, history=history, kept=kept)


def weighed(params: Any, parts: Snapshots, settings: Mapping) -> dict:
    """The parameters of both halves with leading axes (S, 2), and the factors a (S,)."""
    pairs = jax.tree.map(lambda leaf: np.reshape(leaf, (-1, 2, *np.shape(leaf)[1:])), params)
    seeds = range(len(parts.seed) // 2)
    of_seed = [jax.tree.map(lambda leaf, s=s: leaf[s], pairs) for s in seeds]
    shares = [share(both, parts, s, settings["scheme"]) for s, both in enumerate(of_seed)]
    return {"halves": pairs, "share": np.array(shares, np.float32)}


def share(both: Any, parts: Snapshots, s: int, scheme: Scheme) -> float:
    """a of one seed, from the parameters of its halves; NaN where these are not finite."""
    falls = steps = 0.0
    # An explicit step starts at snapshot k and goes down U; the implicit one goes back up from k + 1.
    place, sign = (0, 1) if scheme == "explicit" else (1, -1)
    for half in (0, 1):
        own = jax.tree.map(lambda leaf, half=half: leaf[half], both)
        unseen = [np.float32(cloud) for cloud in parts.clouds(2 * s + 1 - half, "train")]
        for k, tau in enumerate(parts.tau):
            t, cloud = parts.time[k + place], unseen[k + place]
            falls += _mean(own, unseen[k], t) - _mean(own, unseen[k + 1], t)
            moved = _moved(both, cloud, t, -sign * tau)
            steps += sign * (_mean(own, cloud, t) - _mean(own, moved, t))
    if not (np.isfinite(falls) and np.isfinite(steps)):
        return float("nan")
    # A mean potential that would not fall along its own step has nothing to be scaled to.
    return float(np.clip(falls / steps, 0, 1)) if steps > 0 else 0.0


@jax.jit
def _values(own, cloud, t):
    return jnp.mean(jax.vmap(neural.potential, in_axes=(None, 0, None))(own, cloud, t))


def _mean(own: Any, cloud: Array, t: float) -> float:
    return float(_values(own, cloud, jnp.float32(t)))


@jax.jit
def _shifted(both, cloud, t, shift):
    return cloud + shift * jax.vmap(jax.grad(mean_potential, argnums=1), in_axes=(None, 0, None))(
        both, cloud, t
    )


def _moved(both: Any, cloud: Array, t: float, shift: float) -> Array:
    """The cloud (n, d) moved by ``shift`` times grad U."""
    return _shifted(both, cloud, jnp.float32(t), jnp.float32(shift))


def mean_potential(both: Any, x: Array, t: Array) -> Array:
    """U(x, t) for x (d,)."""
    return jnp.mean(jax.vmap(neural.potential, in_axes=(0, None, None))(both, x, t))


def potential(params: Mapping, x: Array, t: Array) -> Array:
    """V(x, t) = a U(x, t) for x (d,)."""
    return params["share"] * mean_potential(params["halves"], x, t)


def energy(params: Mapping) -> Energy:
    """The Energy of the parameters of one seed of :func:`fit`."""
    return Energy(Partial(potential, params))
