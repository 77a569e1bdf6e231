"""Networks as pure functions of (parameters, point)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), elementwise, with the logistic function as its derivative.

    A gradient of V is made of this derivative alone. That of `jax.nn.softplus`, taken through its logaddexp,
    costs several exponentials more at every unit, and they are most of a training step.
    """
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals, tangents):
    (x,), (change,) = primals, tangents
    return softplus(x), change * jax.nn.sigmoid(x)


# Terms of the series of log|det| and random vectors of each of its traces.
_SERIES, _PROBES = 8, 1


class MLP(nn.Module):
    """Multi-layer perceptron: (d,) -> () or, with ``outputs``, (outputs,).

    Two hidden layers of 64, with softplus for an energy (jkonet_star appendix C.5) and selu
    for a transport map (ijkonet appendix C.4).
    """

    hidden: Sequence[int] = (64, 64)
    outputs: int | None = None
    activation: Callable[[Array], Array] = softplus

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for width in self.hidden:
            x = self.activation(nn.Dense(width)(x))
        x = nn.Dense(self.outputs or 1)(x)
        return x if self.outputs else jnp.squeeze(x, axis=-1)


def apply_mlp(
    net: Mapping,
    x: Array,
    outputs: int | None = None,
    activation: Callable[[Array], Array] = softplus,
) -> Array:
    """The MLP with the given parameters at x (d,); its widths are those of the parameters."""
    layers = net["params"]
    hidden = [layers[f"Dense_{i}"]["kernel"].shape[1] for i in range(len(layers) - 1)]
    return MLP(hidden, outputs, activation).apply(net, x)


class ICNN(nn.Module):
    """Input-convex network (Amos et al. 2017): (d,) -> (), convex in its input.

    z_0 = softplus(A_0 x + b_0), z_{i+1} = softplus(A_{i+1} x + b_{i+1} + P_i z_i), and the last z, a number, is the value.
    The P_i are positive by construction, softplus of normal numbers over the number of inputs;
    softplus is convex and rising, so that every z is convex in x. All weights are normal at first. The network of this name in
    ott-jax adds quadratic forms of x in every layer, which the papers' has not.
    """

    hidden: Sequence[int] = (64, 64)

    @nn.compact
    def __call__(self, x: Array) -> Array:
        normal, z = nn.initializers.normal(0.1), None
        for i, width in enumerate((*self.hidden, 1)):
            inputs = nn.Dense(width, kernel_init=normal, name=f"Dense_{i}")(x)
            if z is not None:
                raw = self.param(f"positive_{i}", normal, (z.size, width))
                inputs = inputs + z @ softplus(raw) / z.size
            z = softplus(inputs)
        return jnp.squeeze(z, axis=-1)


def apply_icnn(net: Mapping, x: Array) -> Array:
    """The ICNN with the given parameters at x (d,); its widths are those of the parameters."""
    layers = net["params"]
    depth = sum(name.startswith("Dense") for name in layers) - 1
    return ICNN([layers[f"Dense_{i}"]["kernel"].shape[1] for i in range(depth)]).apply(net, x)


def log_det(u: Callable[[Array], Array], z: Array, h: Array, estimate: str, key: Array) -> Array:
    """log|det grad T| of the map T(z) = z + h u(z) at z (d,), exact or by a series of traces.

    hutchinson: tr log(I + h A) = sum_m (-1)^(m+1) tr((h A)^m) / m with A = grad u, traces by Rademacher vectors;
    it is for maps near the identity: cut after eight terms, its error is of order |h A|^9.
    """
    if estimate == "exact":
        jacobian = jnp.eye(z.size, dtype=z.dtype) + h * jax.jacfwd(u)(z)
        return jnp.linalg.slogdet(jacobian)[1]
    probes = jax.random.rademacher(key, (_PROBES, z.size), z.dtype)

    def trace(probe):
        power, total = probe, jnp.zeros((), z.dtype)
        for m in range(1, _SERIES + 1):
            power = h * jax.jvp(u, (z,), (power,))[1]
            total = total + (-1) ** (m + 1) * jnp.sum(power * probe) / m
        return total

    return jnp.mean(jax.vmap(trace)(probes))
