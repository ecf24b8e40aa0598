"""What architectures share: where a stride sits, a residual that samples once, a check of x.

The hook `down` of every model is a function stride -> layer that keeps the channels and divides
the spatial axes by the stride, treating every channel alike: `jc.blur_pool`, say. Without it a
network strides inside its convolutions and pools. With it they all move by one pixel, and
`down(stride)` samples after the activation, which is where low-pass filters and adaptive phases
belong (Zhang 2019, arXiv:1904.11486, section 3.2). Parameters stay the same tree of the same
shapes, so weights trained with strides load into a network without them.

In a residual block the body and the shortcut must be sampled at the same pixels, or their sum is
meaningless for a sampler that chooses its phase from the input (Chaman and Dokmanic 2021,
arXiv:2011.14214, section 4). So both are joined on the channel axis, sampled once, and split.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxconv import _children, _parse
from jaxconv._types import HasShape, Layer, LayerLike, PaddingMode
from jaxconv.compose import as_layer, residual, serial

Down = Callable[[int], LayerLike]
"""Makes a layer that keeps the channels and divides the spatial axes by a stride."""

Layers = Mapping[str, Any]
"""Layers by name, in order."""


class Style(NamedTuple):
    """How a model pads, how it goes from one resolution to the next, and what bends its maps.

    Attributes:
        padding_mode: what its padding holds.
        down: the model's hook, or None for strides inside layers.
        activation: between its convolutions.
        activate_sums: whether it bends the sum of a block, too.
    """

    padding_mode: PaddingMode = "zeros"
    down: Down | None = None
    activation: LayerLike = jax.nn.relu
    activate_sums: bool = True

    def stride(self, stride: int) -> int:
        """Stride of a layer that samples: its own, or 1 when `down` samples after it."""
        return stride if self.down is None else 1

    def sampled(self, stride: int) -> dict[str, Any]:
        """What follows such a layer: nothing, or the layer that `down` makes."""
        return {} if self.down is None or stride == 1 else {"down": self.down(stride)}


def styled(where: str, padding_mode: PaddingMode, down: Down | None) -> Style:
    """How a model pads and samples; refuses what cannot be, in the name of the model."""
    _parse.check_modes(where, padding_mode)
    check_hooks(where, down=down)
    return Style(padding_mode, down)


_HOOKS = {"down": "polyphase_down", "up": "ideal_up", "around": "polyphase_around"}


def check_hooks(where: str, **hooks: Any) -> None:
    """Refuses a layer in place of a function that makes one for each resolution."""
    for name, hook in hooks.items():
        if hook is not None and not callable(hook):
            found = f"Layer {hook.name!r}" if isinstance(hook, Layer) else repr(hook)
            takes = "(body, stride)" if name == "around" else "stride"
            raise TypeError(
                f"{where}: {name} cannot be called; expected a function {takes} -> layer, which "
                f"makes a layer for each resolution. Got {name}={found}. "
                f"Use {name}=jc.{_HOOKS[name]}, uncalled, or a lambda that calls it."
            )


def strided_residual(
    before: Layers,
    after: Layers,
    shortcut: tuple[LayerLike, LayerLike],
    sampler: Mapping[str, LayerLike],
    name: str = "block",
) -> Layer:
    """Adds body = `before` then `after` to a shortcut, both sampled between the two halves.

        y = after(m) + shortcut(s),  [m, s] = sampler([before(x), x])

    Args:
        before: layers of the body up to the sampling; they carry the stride without a sampler.
        after: the rest of the body.
        shortcut: the shortcut with the stride in it, and the same at stride 1.
        sampler: what `Style.sampled` returned.
        name: what the block is called.
    """
    if not sampler:
        return residual(serial(**before, **after), shortcut[0], name=name)
    first, last = serial(**before), serial(**after)
    down, skip = as_layer(sampler["down"]), as_layer(shortcut[1])

    def init(key, x):
        body_key = _children.fold(key, "body")
        with _children.located(name, "body", x):
            p1, s1 = first.init(body_key, x)
        main = _children.output(first, p1, s1, x)
        joined = jax.eval_shape(_join, main, x)
        with _children.located(name, "down", joined):
            pd, sd = down.init(_children.fold(key, "down"), joined)
        cut = main.shape[-1]
        main, x = jax.eval_shape(_split(cut), _children.output(down, pd, sd, joined))
        with _children.located(name, "body", main):
            p2, s2 = last.init(body_key, main)
        with _children.located(name, "shortcut", x):
            ps, ss = skip.init(_children.fold(key, "shortcut"), x)
        return _entries(p1 | p2, ps, pd), _entries(s1 | s2, ss, sd)

    def apply(params, state, x, *, train=False, key=None):
        def run(child, layer, names, x):
            trees = (_only(names, child, params), _only(names, child, state))
            return _children.run(name, child, layer, trees, x, train=train, key=key)

        main, s1 = run("body", first, before, x)
        joined, sd = run("down", down, None, _join(main, x))
        main, x = _split(main.shape[-1])(joined)
        main, s2 = run("body", last, after, main)
        x, ss = run("shortcut", skip, None, x)
        y = _children.combine_outputs(name, "sum", {"body": main, "shortcut": x})
        return y, _entries(s1 | s2, ss, sd)

    return Layer(init, apply, name)


def channels_last(layer: Layer) -> Layer:
    """The same model, with an error in `init` for an image that comes channels first."""

    def init(key, x: HasShape):
        if _children.looks_channels_first(x.shape):
            raise ValueError(
                f"{layer.name}: x looks channels-first, {x.shape[1]} entries on axis 1; expected "
                f"(N, *spatial, C). Got x of shape {tuple(x.shape)}. "
                f"Use jnp.moveaxis(x, 1, -1)."
            )
        return layer.init(key, x)

    return Layer(init, layer.apply, layer.name)


def _join(main: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.concatenate([main, x], axis=-1)


def _split(cut: int) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    return lambda joined: (joined[..., :cut], joined[..., cut:])


def _entries(body, shortcut, down):
    tree = {}
    for name, entry in {"body": body, "shortcut": shortcut, "down": down}.items():
        _children.put(tree, name, entry)
    return tree


def _only(names, child, tree):
    """The entries of one half of the body; the halves share one entry of the block."""
    if names is None or child not in tree:
        return tree
    return {child: {name: entry for name, entry in tree[child].items() if name in names}}
