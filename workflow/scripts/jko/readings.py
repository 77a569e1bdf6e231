"""What snapshots say of a test function: by the displacements of pairs, and by means.

A loss of first order learns V = theta . psi from pairs (x, y) of a coupling pi by the regression of (y - x) / tau on grad V. All that it
takes from the data is, for each psi and summed over the intervals k,

    sum_k E_pi[grad psi(x) . (y - x)],    with grad psi(y) in the implicit scheme,

where the change of its mean would be sum_k E_pi[psi(y) - psi(x)] = E_K[psi] - E_0[psi], whatever the coupling. The two
differ by

    E_pi[psi(y) - psi(x) - grad psi(x) . (y - x)] = 1/2 E_pi[(y - x)^T hess psi (y - x)] + ...

The optimal coupling of two samples moves particles by their sampling noise too, in two dimensions by some n^{-1/2} of the
width, which may be many times the motion. So the rest is of the order of that noise squared over the width of psi squared; it has a
sign, it adds up over the intervals, and no more particles of the same snapshots average it away. The noise of means
telescopes, and has a known size: that of two samples. A potential of fine features needs narrow test functions, where this is worst.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jko import heat
from jko.couplings import CoupledRows, by_interval, of_seed
from jko.energies import Energy
from jko.prediction import one_step
from jko.snapshots import Snapshots

READINGS = ("means", "pairs, slope at x", "pairs, slope at y")


def pairs_of(coupling: CoupledRows, snapshots: Snapshots, s: int) -> list[tuple[np.ndarray, ...]]:
    """Pairs x (p, d), y (p, d) of the ``s``-th seed and their weights (p,), which sum to 1, for each interval."""
    rows = by_interval(of_seed(coupling, snapshots, s))
    return [(snapshots.x[i], snapshots.x[j], weight) for i, j, weight in rows]


def euler_steps(energy: Energy, snapshots: Snapshots, s: int) -> list[np.ndarray]:
    """What one Euler step without noise moves the train particles of each snapshot but the last: K-1 of (n_k, d)."""
    still = energy._replace(beta=0.0)
    places = zip(snapshots.clouds(s, "train"), snapshots.time, snapshots.tau, strict=False)
    return [one_step(still, cloud, t, tau, "explicit", seed=0) - cloud for cloud, t, tau in places]


def errors(
    clouds: Sequence[np.ndarray],
    pairs: Sequence[tuple[np.ndarray, ...]],
    steps: Sequence[np.ndarray],
    centers: np.ndarray,
    width: float,
) -> tuple[float, float, float]:
    """Errors of the :data:`READINGS` of bumps exp(-|x - c|^2 / (2 width^2)), root mean square over the bumps.

    Each is less what it is for the true displacements, and in units of the standard deviation of E_K[psi] - E_0[psi].

    Args:
        clouds: K of (n_k, d). pairs: of every interval, as from :func:`pairs_of`.
        steps: K-1 of (n_k, d), the true displacement of each particle. centers: (c, d).
    """
    bumps = {
        "monomials": np.zeros((0, 1), np.int32),
        "centers": centers,
        "sigma": np.full(len(centers), 2 * width**2),
    }

    def along(places, moves):
        # Of every bump sum_i grad psi(x_i) . m_i.
        return moves.ravel() @ heat.gradients(bumps, places).reshape(moves.size, -1)

    values = [heat.values(bumps, cloud) for cloud in clouds]
    change, first, at_x, at_y = (np.zeros(len(centers)) for _ in range(4))
    for cloud, value, step, (x, y, weight) in zip(clouds, values, steps, pairs, strict=False):
        change += (heat.values(bumps, cloud + step) - value).mean(axis=0)
        first += along(cloud, step) / len(cloud)
        move = weight[:, None] * (y - x)
        at_x += along(x, move)
        at_y += along(y, move)
    scale = np.sqrt(sum(values[k].var(axis=0) / len(values[k]) for k in (0, -1)))
    found = (values[-1].mean(axis=0) - values[0].mean(axis=0) - change, at_x - first, at_y - first)
    return tuple(float(np.sqrt(np.mean((error / scale) ** 2))) for error in found)
