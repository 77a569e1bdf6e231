"""Entropic transport between weighted clouds as a loss: the Sinkhorn loss and the debiased divergence."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from ott.geometry import geometry
from ott.problems.linear import linear_problem
from ott.solvers.linear import sinkhorn

from jko.batches import Clouds

# L1 error of the marginals that counts as converged, and the iterations allowed.
_THRESHOLD, _ITERATIONS = 1e-3, 2000


class Loss(NamedTuple):
    """A loss between two clouds.

    Attributes:
        value: () in squared lengths.
        converged: () whether every Sinkhorn loop behind it reached its threshold.
    """

    value: Array
    converged: Array


def sinkhorn_loss(moved: Clouds, goal: Clouds, epsilon: Array) -> Loss:
    """min_P <P, C> - epsilon H(P) over the plans of the two clouds, C = |x - y|^2, by ott-jax.

    Its gradient takes the optimal plan as fixed (Danskin). The minimiser over moved clouds is not
    the goal, but one that is narrower than it by a blur of about epsilon^(1/2).

    Args:
        moved, goal: z (n, d) and (m, d), weights (n,) and (m,) of any sum. epsilon: ().
    """
    a, b = moved.weight / jnp.sum(moved.weight), goal.weight / jnp.sum(goal.weight)
    cost = jnp.sum((moved.z[:, None, :] - goal.z[None, :, :]) ** 2, axis=-1)
    # ott-jax itself mixes ranks and dtypes, which strict JAX would refuse.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        problem = linear_problem.LinearProblem(geometry.Geometry(cost, epsilon=epsilon), a, b)
        solver = sinkhorn.Sinkhorn(threshold=_THRESHOLD, max_iterations=_ITERATIONS)
        output = solver(problem)
        return Loss(output.ent_reg_cost, output.converged)


def divergence(moved: Clouds, goal: Clouds, epsilon: Array) -> Loss:
    """OT(moved, goal) - OT(moved, moved) / 2 - OT(goal, goal) / 2 with OT the :func:`sinkhorn_loss`:
    zero at the goal, and nowhere below (Feydy et al. 2019).
    """
    cross = sinkhorn_loss(moved, goal, epsilon)
    one, other = sinkhorn_loss(moved, moved, epsilon), sinkhorn_loss(goal, goal, epsilon)
    converged = cross.converged & one.converged & other.converged
    return Loss(cross.value - (one.value + other.value) / 2, converged)


LOSSES = {"sinkhorn": sinkhorn_loss, "divergence": divergence}
