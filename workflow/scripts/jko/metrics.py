"""Errors between two clouds, and between two energies.

EMD is W1 with Euclidean cost; W1, W2 and W2^2 are three numbers. Clouds have uniform weights, may
have unequal sizes and are never truncated.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.spatial import cKDTree

from jko.couplings import network_simplex, squared_distances
from jko.energies import Energy, mean_pulls

# Share of a cloud that is its edge.
_OUTERMOST = 0.1


def w1(x: np.ndarray, y: np.ndarray) -> float:
    """EMD: min over couplings of E|x - y|, exact. x: (n, d), y: (m, d); in units of length."""
    cost = np.sqrt(squared_distances(x, y))
    return _transport_cost(cost)


def w2_squared(x: np.ndarray, y: np.ndarray) -> float:
    """W2^2: min over couplings of E|x - y|^2, exact. x: (n, d), y: (m, d); in units of length^2."""
    return _transport_cost(squared_distances(x, y))


def w2(x: np.ndarray, y: np.ndarray) -> float:
    """W2, the square root of :func:`w2_squared`; in units of length."""
    return float(np.sqrt(w2_squared(x, y)))


def _transport_cost(cost: np.ndarray) -> float:
    # For equal sizes too: the assignment solver takes up to six times as long for clouds that have moved far.
    plan = network_simplex(cost)
    return float(plan.data @ cost[plan.row, plan.col])


def bures_w2_squared(x: np.ndarray, y: np.ndarray) -> float:
    """W2^2 between the Gaussians with the clouds' means m and covariances S.

    |m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x^{1/2} S_y S_x^{1/2})^{1/2}), in units of length^2.
    """
    covariance_x, covariance_y = _covariance(x), _covariance(y)
    values, vectors = np.linalg.eigh(covariance_x)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ covariance_y @ root)
    trace = (
        np.trace(covariance_x) + np.trace(covariance_y) - 2 * np.sum(np.sqrt(np.maximum(cross, 0)))
    )
    return float(np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) + max(trace, 0.0))


def _covariance(x: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(x, rowvar=False))


def bw2_uvp(x: np.ndarray, reference: np.ndarray) -> float:
    """B-UVP = 100 BW2^2(x, reference) / (Var(reference) / 2), in %; Var is the trace of the covariance.

    NaN if the reference does not vary.
    """
    variance = np.trace(_covariance(reference))
    return 200 * bures_w2_squared(x, reference) / variance if variance > 0 else float("nan")


def symmetric_kl(x: np.ndarray, y: np.ndarray, neighbours: int = 5) -> float:
    """SymKL = KL(p|q) + KL(q|p) of the laws p, q of two clouds x (n, d), y (m, d), in nats.

    Each by the nearest-neighbour estimate of Wang, Kulkarni and Verdu (2009),
    KL(p|q) = d mean_i log(s_i / r_i) + log(m / (n - 1)), with r_i and s_i the distances from x_i to
    its ``neighbours``-th neighbour among the other x and among y. It is biased at these sizes:
    compare it with the value of the sampling floor, not with zero. NaN where neighbours coincide.
    """
    tree_x, tree_y = cKDTree(x), cKDTree(y)

    def divergence(points, own, other):
        if min(len(points) - 1, other.n) < neighbours:
            return float("nan")
        within = own.query(points, k=[neighbours + 1])[0]
        across = other.query(points, k=[neighbours])[0]
        if not (within.all() and across.all()):
            return float("nan")
        size = np.log(other.n / (len(points) - 1))
        return float(points.shape[1] * np.mean(np.log(across / within)) + size)

    return divergence(x, tree_x, tree_y) + divergence(y, tree_y, tree_x)


def uvp(gap: float, cloud: np.ndarray, tau: float) -> float:
    """100 tau^2 gap / Var, in %, of a mean squared difference of gradients; NaN if the cloud does not vary.

    Args:
        gap: in (energy / length)^2. cloud: (n, d) whose variance Var is the trace of its covariance. tau: length of the step.
    """
    variance = float(np.trace(_covariance(cloud)))
    return 100 * tau**2 * gap / variance if variance > 0 else float("nan")


@jax.jit
def _gradient_gap(energy: Energy, truth: Energy, cloud: Array, t: Array) -> Array:
    def gap(x):
        return jax.grad(energy.potential)(x, t) - jax.grad(truth.potential)(x, t)

    return jax.vmap(gap)(cloud)


@jax.jit
def _interaction_gap(energy: Energy, truth: Energy, cloud: Array) -> Array:
    found, true = (
        jnp.zeros_like(cloud) if one is None else mean_pulls(one, cloud)[0]
        for one in (energy.interaction, truth.interaction)
    )
    return found - true


def l2_uvps(
    energy: Energy, truth: Energy, cloud: np.ndarray, next_cloud: np.ndarray, t: float, tau: float
) -> dict[str, float]:
    """L2-UVP of one interval, in %, by the names of the gradients that it is of.

    l2_uvp: 100 tau^2 E_{rho_{k+1}} |grad V - grad V_true|^2 / Var(rho_k). l2_uvp_edge: the same over the :func:`outermost`
    particles alone. l2_uvp_interaction: of
    grad W * rho_{k+1}, which is all that a population feels of W. l2_uvp_drift: of grad V + grad W * rho_{k+1}, the sum by
    which V and W move a population; it is small where their errors cancel, which one population alone does not tell apart.

    Args:
        cloud: (n, d) rho_k. next_cloud: (m, d) rho_{k+1}. t: time at which V(x, t) is taken.
        tau: time between the two.

    NaN if the cloud does not vary.
    """
    points = jnp.asarray(next_cloud, jnp.float32)
    of_potential = np.asarray(_gradient_gap(energy, truth, points, jnp.float32(t)))
    of_interaction = np.zeros_like(of_potential)
    if not (energy.interaction is None and truth.interaction is None):
        of_interaction = np.asarray(_interaction_gap(energy, truth, points))
    gaps = {
        "l2_uvp": of_potential,
        "l2_uvp_edge": of_potential[outermost(np.asarray(next_cloud))],
        "l2_uvp_interaction": of_interaction,
        "l2_uvp_drift": of_potential + of_interaction,
    }
    return {name: uvp(_mean_square(gap), cloud, tau) for name, gap in gaps.items()}


def outermost(cloud: np.ndarray) -> np.ndarray:
    """Rows of the tenth of a cloud (n, d) that is farthest from its mean in units of its covariance (Mahalanobis)."""
    away = cloud - cloud.mean(axis=0)
    distance = np.sum(away @ np.linalg.pinv(np.atleast_2d(_covariance(cloud))) * away, axis=1)
    return np.argsort(-distance, kind="stable")[: max(1, round(_OUTERMOST * len(cloud)))]


def _mean_square(gap: np.ndarray) -> float:
    return float(np.mean(np.sum(np.square(gap, dtype=np.float64), axis=1)))


@jax.jit
def _implicit_gap(truth: Energy, cloud: Array, t: Array, tau: Array) -> Array:
    def gap(x):
        gradient = jax.grad(truth.potential)(x, t)
        return jnp.sum((jax.grad(truth.potential)(x - tau * gradient, t) - gradient) ** 2)

    return jnp.mean(jax.vmap(gap)(cloud))


def implicit_l2_uvp(truth: Energy, cloud: np.ndarray, t: float, tau: float) -> float:
    """L2-UVP of one interval, in %, of what meets the implicit condition on explicit steps exactly.

    The data move by y = x - tau grad V(x); the condition of the JKO step asks for the gradient (x -
    y) / tau at y, which is grad V(x) and not grad V(y). So the scheme alone costs 100 tau^2
    E_{rho_k} |grad V(x - tau grad V(x)) - grad V(x)|^2 / Var(rho_k).

    Args:
        truth: an energy of V alone. cloud: (n, d) rho_k. t: its time. tau: length of the step.

    NaN if the cloud does not vary.
    """
    gap = float(_implicit_gap(truth, *(jnp.asarray(a, jnp.float32) for a in (cloud, t, tau))))
    return uvp(gap, cloud, tau)
