"""How good the derivative through an inner loop of JKOnet is, and what it costs.

The outer loss of one interval, one batch and one V, and its gradient by the networks of V: by
the unrolled loop and by its implicit derivative, against that of the proximal points, which
solve the inner problem to rounding.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.flatten_util import ravel_pytree

from jko import jko_maps, neural
from jko.batches import Clouds
from jko.divergences import LOSSES
from jko.jko_maps import Reach, Step
from jko.methods import Problem, jkonet
from jko.training import seed_keys

COLUMNS = "units map inner_steps gradient relative_error cosine map_error seconds memory_mb".split()


def compare(
    problem: Problem,
    settings: Mapping,
    units: Sequence[str],
    maps: Sequence[str],
    steps: Sequence[int],
    repeats: int,
    report=print,
) -> pd.DataFrame:
    """Both gradients at new V and maps, for each of the given units, maps and steps of the inner loop.

    Args:
        settings: of the method jkonet, for all else.
        repeats: how often each compiled gradient is run.

    Returns:
        Columns :data:`COLUMNS`: relative_error |g - g*| / |g*| and cosine of the gradient against that of the
        proximal points; map_error, root mean square distance of the map's places from them over that of the
        motion; median seconds of the gradient without compilation, and the memory that its program needs.
    """
    table = []
    for unit in units:
        batch, known = _first_batch(problem, settings | {"units": unit})
        nets = neural.init(
            _key(problem), batch.z.shape[2], ["potential"], False, settings["hidden"]
        )
        step = Step(
            Clouds(batch.z[:, 0], batch.weight[:, 0]),
            known.h[0],
            known.end[0],
            Reach(known.reach.network[0], known.reach.identity[0]),
            known.monge_gap,
        )
        goal = Clouds(batch.z[:, 1], batch.weight[:, 1])

        def loss(moved: Callable, goal=goal, known=known):
            def of_nets(nets):
                cloud = moved(nets)
                value = LOSSES[settings["loss"]](cloud, goal, known.epsilon).value
                return value / known.unit, cloud.z

            return of_nets

        exact = _measured(
            loss(lambda nets, step=step: jko_maps.proximal(neural.v, nets, step)), nets, 1
        )
        motion = _rms(exact["places"] - step.cloud.z)
        for kind, count, (name, solve) in itertools.product(
            maps, steps, jko_maps.GRADIENTS.items()
        ):
            loop = jkonet.loop_of(settings | {"inner_steps": count})
            theta = jko_maps.init(
                jax.random.fold_in(_key(problem), 1), kind, batch.z.shape[2], settings["map_hidden"]
            )

            def moved(nets, solve=solve, loop=loop, theta=theta, step=step):
                return jko_maps.moved(solve(neural.v, loop, theta, nets, step), step)

            found = _measured(loss(moved), nets, repeats)
            one, best = found["gradient"], exact["gradient"]
            numbers = {
                "relative_error": np.linalg.norm(one - best) / np.linalg.norm(best),
                "cosine": one @ best / np.linalg.norm(one) / np.linalg.norm(best),
                "map_error": _rms(found["places"] - exact["places"]) / motion,
                "seconds": found["seconds"],
                "memory_mb": found["memory_mb"],
            }
            key = {"units": unit, "map": kind, "inner_steps": count, "gradient": name}
            table.append(key | numbers)
            report(" ".join(f"{column} {value}" for column, value in table[-1].items()))
    return pd.DataFrame(table)[COLUMNS]


def _measured(loss: Callable, nets: Mapping, repeats: int) -> dict:
    """The gradient (float64, one vector), the places, median seconds and memory of a compiled loss."""
    program = jax.jit(jax.grad(loss, has_aux=True)).lower(nets).compile()
    gradient, places = jax.block_until_ready(program(nets))
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready(program(nets))
        seconds.append(time.perf_counter() - begun)
    return {
        "gradient": np.asarray(ravel_pytree(gradient)[0], np.float64),
        "places": np.asarray(places),
        "seconds": float(np.median(seconds)),
        "memory_mb": program.memory_analysis().temp_size_in_bytes / 1e6,
    }


def _first_batch(problem: Problem, settings: Mapping) -> tuple[Clouds, jkonet.Known]:
    """The first rows of the first seed."""
    data, known, _ = jkonet.prepared(problem, 0, settings["batch"], settings)
    return jax.tree.map(jnp.asarray, (data, known))


def _key(problem: Problem) -> Array:
    return seed_keys(problem.snapshots.seed)[0]


def _rms(apart: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.sum(np.asarray(apart, np.float64) ** 2, axis=1))))
