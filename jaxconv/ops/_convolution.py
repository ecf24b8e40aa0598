"""Convolution and its two gradients as primitives, each one's transposes the other two.

With ⋆ the bilinear map that `conv` computes, y = x ⋆ k, and ⟨·, ·⟩ the sum of products:

    ⟨x ⋆ k, g⟩ = ⟨x, input_gradient(g, k)⟩ = ⟨k, kernel_gradient(x, g)⟩

so the triple is closed under differentiation of any order. It is closed under batching as well:
a mapped axis goes into the batch, into the channels or into the groups. Why primitives: what JAX
derives from a fast forward pass on a CPU is a slow gradient (48 ms against 2.3 for the kernel of
a 3 × 3 depthwise convolution of 256 channels on 8 images of 28 × 28), and a custom derivative
rule would give up forward mode. On a CPU the formulation comes from `_cpu.choice`, everywhere
else from lax.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxconv.ops import _define
from jaxconv.ops._cpu import choice, taps
from jaxconv.ops._cpu.taps import Slide, lax_conv

Sizes = tuple[int, ...]


def convolve(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """Convolves x (N, *spatial, C) with kernel (*window, C / groups, features)."""
    if not _define.ENABLED:
        return _lax_conv(x, kernel, slide)
    return _define.bind(_conv, x, kernel, slide=slide)


def input_gradient(g: jax.Array, kernel: jax.Array, slide: Slide, spatial: Sizes) -> jax.Array:
    """The x-shaped cotangent of `convolve` for a y-shaped g; `spatial` are the sizes of x."""
    if not _define.ENABLED:
        return _lax_input_gradient(g, kernel, slide, spatial)
    return _define.bind(_input_gradient, g, kernel, slide=slide, spatial=spatial)


def kernel_gradient(x: jax.Array, g: jax.Array, slide: Slide, window: Sizes) -> jax.Array:
    """The kernel-shaped cotangent of `convolve` for a y-shaped g."""
    if not _define.ENABLED:
        return _lax_kernel_gradient(x, g, slide, window)
    return _define.bind(_kernel_gradient, x, g, slide=slide, window=window)


# --- lowerings -------------------------------------------------------------------------------


def _lax_conv(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """Lax's own; jaxlib 0.10.2 aborts on some of its gradients unless x is padded before."""
    facts = choice.facts(x.shape[-1], kernel.shape[-1], kernel.shape[:-2], slide)
    if choice.choose(facts).name in choice.ABORTING:
        padded = taps.pad_spatial(x, slide.padding)
        return lax_conv(padded, kernel, slide._replace(padding=((0, 0),) * len(slide.padding)))
    return lax_conv(x, kernel, slide)


def _lax_input_gradient(g: jax.Array, kernel: jax.Array, slide: Slide, spatial: Sizes) -> jax.Array:
    like = jax.ShapeDtypeStruct((g.shape[0], *spatial, kernel.shape[-2] * slide.groups), g.dtype)
    return jax.linear_transpose(lambda x: lax_conv(x, kernel, slide), like)(g)[0]


def _lax_kernel_gradient(x: jax.Array, g: jax.Array, slide: Slide, window: Sizes) -> jax.Array:
    shape = (*window, x.shape[-1] // slide.groups, g.shape[-1])
    like = jax.ShapeDtypeStruct(shape, x.dtype)
    return jax.linear_transpose(lambda k: lax_conv(x, k, slide), like)(g)[0]


def _cpu_conv(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    window = kernel.shape[:-2]
    output = slide.output(x.shape[1:-1], window)
    facts = choice.facts(x.shape[-1], kernel.shape[-1], window, slide, output)
    return choice.forward(facts)(x, kernel, slide)


def _cpu_input_gradient(g: jax.Array, kernel: jax.Array, slide: Slide, spatial: Sizes) -> jax.Array:
    channels, features, window = kernel.shape[-2] * slide.groups, g.shape[-1], kernel.shape[:-2]
    facts = choice.facts(channels, features, window, slide, g.shape[1:-1])
    return choice.input_gradient(facts)(g, kernel, slide, spatial)


def _cpu_kernel_gradient(x: jax.Array, g: jax.Array, slide: Slide, window: Sizes) -> jax.Array:
    facts = choice.facts(x.shape[-1], g.shape[-1], window, slide, g.shape[1:-1])
    return choice.kernel_gradient(facts)(x, g, slide, window)


# --- batching --------------------------------------------------------------------------------


def _into_batch(mapped: jax.Array) -> jax.Array:
    return mapped.reshape(-1, *mapped.shape[2:])


def _out_of_batch(y: jax.Array, count: int) -> jax.Array:
    return y.reshape(count, -1, *y.shape[1:])


def _into_last(mapped: jax.Array, groups: int) -> jax.Array:
    """(B, …, groups·n) -> (…, groups·B·n): within each group, one after the other."""
    split = mapped.reshape(*mapped.shape[:-1], groups, -1)
    moved = jnp.moveaxis(split, 0, -2)
    return moved.reshape(*moved.shape[:-3], -1)


def _out_of_last(y: jax.Array, count: int, groups: int) -> jax.Array:
    split = y.reshape(*y.shape[:-1], groups, count, -1)
    moved = jnp.moveaxis(split, -2, 0)
    return moved.reshape(*moved.shape[:-2], -1)


def _more_groups(slide: Slide, count: int) -> Slide:
    return slide._replace(groups=slide.groups * count)


def _count(args: Any, mapped: Any) -> int:
    return next(a.shape[0] for a, m in zip(args, mapped, strict=True) if m)


def _batch_conv(args: Any, mapped: Any, *, slide: Slide) -> jax.Array:
    (x, kernel), count = args, _count(args, mapped)
    if not mapped[1]:
        return _out_of_batch(_define.bind(_conv, _into_batch(x), kernel, slide=slide), count)
    if not mapped[0]:
        y = _define.bind(_conv, x, _into_last(kernel, slide.groups), slide=slide)
        return _out_of_last(y, count, slide.groups)
    y = _define.bind(
        _conv, _into_last(x, 1), _into_last(kernel, 1), slide=_more_groups(slide, count)
    )
    return _out_of_last(y, count, 1)


def _batch_input_gradient(args: Any, mapped: Any, *, slide: Slide, spatial: Sizes) -> jax.Array:
    (g, kernel), count = args, _count(args, mapped)
    if not mapped[1]:
        x = _define.bind(_input_gradient, _into_batch(g), kernel, slide=slide, spatial=spatial)
        return _out_of_batch(x, count)
    if not mapped[0]:  # the kernels side by side read more channels of each group
        wide = jnp.concatenate(list(kernel), axis=-2)
        x = _define.bind(_input_gradient, g, wide, slide=slide, spatial=spatial)
        return _out_of_last(x, count, slide.groups)
    many = _more_groups(slide, count)
    x = _define.bind(
        _input_gradient, _into_last(g, 1), _into_last(kernel, 1), slide=many, spatial=spatial
    )
    return _out_of_last(x, count, 1)


def _batch_kernel_gradient(args: Any, mapped: Any, *, slide: Slide, window: Sizes) -> jax.Array:
    (x, g), count = args, _count(args, mapped)
    if not mapped[1]:
        wide = _into_last(x, slide.groups)
        kernel = _define.bind(_kernel_gradient, wide, g, slide=slide, window=window)
        return jnp.stack(jnp.split(kernel, count, axis=-2))
    if not mapped[0]:
        wide = _into_last(g, slide.groups)
        kernel = _define.bind(_kernel_gradient, x, wide, slide=slide, window=window)
        return _out_of_last(kernel, count, slide.groups)
    many = _more_groups(slide, count)
    kernel = _define.bind(
        _kernel_gradient, _into_last(x, 1), _into_last(g, 1), slide=many, window=window
    )
    return _out_of_last(kernel, count, 1)


# --- registration ----------------------------------------------------------------------------


def _once(first: Any, last: Any, rank: int) -> tuple[Any, ...]:
    """Sharded over the first and the last axis; a mesh axis cannot serve both."""
    return (first, *(None,) * (rank - 2), None if last == first else last)


_conv = _define.define(
    "jaxconv_conv",
    plain=lax_conv,
    cpu=_cpu_conv,
    sharding=lambda specs, **_: _once(specs[0][0], specs[1][-1], len(specs[0])),
)
_input_gradient = _define.define(
    "jaxconv_conv_input_gradient",
    plain=_lax_input_gradient,
    cpu=_cpu_input_gradient,
    sharding=lambda specs, **_: _once(specs[0][0], specs[1][-2] or specs[1][-1], len(specs[0])),
)
_kernel_gradient = _define.define(
    "jaxconv_conv_kernel_gradient",
    plain=_lax_kernel_gradient,
    cpu=_cpu_kernel_gradient,
    sharding=lambda specs, **_: _once(None, specs[1][-1], len(specs[0])),
)


_define.bilinear(
    _conv,
    lambda ct, k, x, slide: _define.bind(
        _input_gradient, ct, k, slide=slide, spatial=x.shape[1:-1]
    ),
    lambda ct, x, k, slide: _define.bind(_kernel_gradient, x, ct, slide=slide, window=k.shape[:-2]),
)
_define.bilinear(
    _input_gradient,
    lambda ct, k, g, slide, spatial: _define.bind(_conv, ct, k, slide=slide),
    lambda ct, g, k, slide, spatial: _define.bind(
        _kernel_gradient, ct, g, slide=slide, window=k.shape[:-2]
    ),
)
_define.bilinear(
    _kernel_gradient,
    lambda ct, g, x, slide, window: _define.bind(
        _input_gradient, g, ct, slide=slide, spatial=x.shape[1:-1]
    ),
    lambda ct, x, g, slide, window: _define.bind(_conv, x, ct, slide=slide),
)
_define.batched(_conv, _batch_conv)
_define.batched(_input_gradient, _batch_input_gradient)
_define.batched(_kernel_gradient, _batch_kernel_gradient)
