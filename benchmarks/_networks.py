"""Random networks and single operations for the prover to be wrong about.

Each program maps x (N, H, W, C), float64, to an array, and is a pure function of its seed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import _random_layers, _random_operations
from benchmarks._random_layers import HEADS, Family, Layer

FAMILIES: dict[str, Family] = {
    f.__name__: f
    for f in (
        _random_layers.conv,
        _random_layers.circular_conv,
        _random_layers.depthwise,
        _random_layers.transposed,
        _random_layers.pool,
        _random_layers.counted_pool,
        _random_operations.roll,
        _random_operations.strided,
        _random_operations.flip,
        _random_operations.transpose,
        _random_operations.patchify,
        _random_operations.unpatchify,
        _random_layers.pointwise,
        _random_layers.dense_channels,
        _random_layers.mix_axis,
        _random_layers.resize,
        _random_layers.norm,
        _random_layers.attention,
        _random_layers.squeeze_excite,
        _random_layers.position,
        _random_layers.mask,
        _random_operations.take,
        _random_operations.scattered,
        _random_operations.updated,
        _random_operations.ordered,
        _random_operations.arg,
        _random_layers.skip,
        _random_operations.concatenate,
        _random_operations.loop,
        _random_operations.scanned,
        _random_operations.branch,
        _random_operations.gradient,
        _random_operations.fourier,
        _random_operations.padded,
        _random_operations.sorted_take,
        _random_layers.branches,
        _random_layers.adaptive,
        _random_layers.polyphase,
    )
}
"""By name, in an order that seeds rest on."""


class Network(NamedTuple):
    """A random program: its layers by name, the input's shape, and the axes that shift."""

    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def network(seed: int, *, operations: int | None = None) -> Network:
    """A network drawn from a seed; `operations` fixes the number of layers."""
    rng = np.random.default_rng(seed)
    height, width = rng.choice([4, 6, 8], 2)
    shape = (int(rng.integers(1, 3)), int(height), int(width), int(rng.integers(1, 4)))
    axes = ((1, 2), (1, 2), (1,), (2,))[rng.integers(4)]
    count = int(rng.integers(2, 7)) if operations is None else operations
    names, layers, current = [], [], shape
    while len(layers) < count:
        name = str(rng.choice(list(FAMILIES)))
        try:
            layer = FAMILIES[name](rng, current)
            out = jax.eval_shape(layer, jax.ShapeDtypeStruct(current, jnp.float64))
        except (TypeError, ValueError, ZeroDivisionError):
            continue
        if out.ndim != 4 or 0 in out.shape or out.size > 4000 or out.dtype != jnp.float64:
            continue
        names.append(name)
        layers.append(layer)
        current = out.shape
    if rng.random() < 0.35:
        name = str(rng.choice(list(HEADS)))
        names.append(name)
        layers.append(HEADS[name](rng, current))
    return Network(tuple(names), tuple(layers), shape, axes)
