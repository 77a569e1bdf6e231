"""Named interaction kernels W: (d,) -> (), each written for one displacement z = x - y.

Every potential also serves as a kernel under its own name, W(z) = V(z), as in jkonet_star section
4.3. Such a W need not be even: a pair of particles need not pull with equal and opposite force, and
the mean over the population holds the particle itself, at z = 0, where grad W need not vanish.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from jko.potentials import POTENTIALS

Kernel = Callable[[Array], Array]

KERNELS: dict[str, Kernel] = dict(POTENTIALS)


def register(kernel: Kernel) -> Kernel:
    """Make a kernel available under the name of its function."""
    name = kernel.__name__
    if name in KERNELS:
        raise ValueError(f"kernel {name!r} is registered twice; names must be distinct")
    KERNELS[name] = kernel
    return kernel


def get(name: str) -> Kernel:
    """The kernel of that name.

    Raises:
        ValueError: no kernel of that name is registered.
    """
    if name not in KERNELS:
        raise ValueError(f"unknown kernel {name!r}; registered: {', '.join(sorted(KERNELS))}")
    return KERNELS[name]


@register
def gaussian_attraction(z: Array) -> Array:
    """-2.2 exp(-|z|^2): attraction of range one, the kernel of the cell-interaction system."""
    return -2.2 * jnp.exp(-jnp.sum(z**2))


@register
def quadratic(z: Array) -> Array:
    """|z|^2 / 2: every particle is drawn to the mean of the population."""
    return jnp.sum(z**2) / 2


@register
def quartic_quadratic(z: Array) -> Array:
    """|z|^4 / 4 - |z|^2 / 2: repulsion within distance one, attraction beyond."""
    square = jnp.sum(z**2)
    return square**2 / 4 - square / 2
