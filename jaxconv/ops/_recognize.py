"""Equations of other people's programs for which this library has a better form.

`better_form` looks at one equation, and at what makes its operands, and returns another form of it,
or None where lax's own is as good or the case is not known: what is not known is left untouched.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxconv.ops import _convolution
from jaxconv.ops._cpu import choice, taps
from jaxconv.ops._cpu.taps import Slide
from jaxconv.ops._recognize_channels import scale_shift_form
from jaxconv.ops._recognize_pools import POOLS
from jaxconv.ops._rewrite import Form, Makers


def better_form(eqn: Any, makers: Makers) -> Form | None:
    """A better form of an equation, in a program that makes its operands by `makers`."""
    if eqn.primitive.name == "add":
        return scale_shift_form(eqn, makers)
    rule = _RULES.get(eqn.primitive.name)
    return None if rule is None else rule(eqn)


def _convolution_form(eqn: Any) -> Form | None:
    x, kernel = (v.aval for v in eqn.invars)
    if x.dtype != kernel.dtype or not jnp.issubdtype(x.dtype, jnp.floating):
        return None
    if eqn.outvars[0].aval.dtype != x.dtype or x.ndim < 3:
        return None
    params = eqn.params
    if params["batch_group_count"] != 1:
        return _kernel_gradient(eqn, x, kernel)
    if any(d != 1 for d in params["lhs_dilation"]):
        return _transposed(eqn, x, kernel)
    if _is_kernel_gradient(eqn, x, kernel):
        form = _kernel_gradient(eqn, x, kernel)
        if form is not None or all(min(pair) >= 0 for pair in params["padding"]):
            return form
    return _forward(eqn, x, kernel)


def _forward(eqn: Any, x: Any, kernel: Any) -> Form | None:
    """An ordinary convolution; also where its padding is one that XLA on CPU gets wrong."""
    params, numbers = eqn.params, eqn.params["dimension_numbers"]
    window = tuple(kernel.shape[axis] for axis in numbers.rhs_spec[2:])
    channels, features = x.shape[numbers.lhs_spec[1]], kernel.shape[numbers.rhs_spec[0]]
    slide = Slide(
        params["window_strides"],
        params["rhs_dilation"],
        params["padding"],
        params["feature_group_count"],
    )
    output = slide.output([x.shape[axis] for axis in numbers.lhs_spec[2:]], window)
    row = choice.choose(choice.facts(channels, features, window, slide, output))
    explicit = not _safe(slide, window)
    if row.name == "dense" and not explicit:
        return None

    def function(x: jax.Array, kernel: jax.Array) -> jax.Array:
        x, kernel = _images(x, numbers.lhs_spec), _kernels(kernel, numbers.rhs_spec)
        if explicit:
            x = taps.pad_spatial(x, slide.padding)
        padding = ((0, 0),) * len(window) if explicit else slide.padding
        y = _convolution.convolve(x, kernel, slide._replace(padding=padding))
        return _back(y, numbers.out_spec)

    name = f"{row.name}, explicit padding" if explicit else row.name
    return Form(name, function)


def _safe(slide: Slide, window: Sequence[int]) -> bool:
    axes = zip(slide.padding, slide.dilation, window, strict=True)
    return all(min(pair) >= 0 and max(pair) <= d * (k - 1) for pair, d, k in axes)


def _transposed(eqn: Any, x: Any, kernel: Any) -> Form | None:
    """A convolution of a dilated input: the input gradient of one with that stride."""
    params, numbers = eqn.params, eqn.params["dimension_numbers"]
    if any(s != 1 for s in params["window_strides"]):
        return None
    window = tuple(kernel.shape[axis] for axis in numbers.rhs_spec[2:])
    output = tuple(eqn.outvars[0].aval.shape[axis] for axis in numbers.out_spec[2:])
    dilation, stride = params["rhs_dilation"], params["lhs_dilation"]
    sizes = tuple(x.shape[axis] for axis in numbers.lhs_spec[2:])
    padding = tuple(
        (d * (k - 1) - low, (n - 1) * s + d * (k - 1) + 1 - out - (d * (k - 1) - low))
        for (low, _), d, k, s, n, out in zip(
            params["padding"], dilation, window, stride, sizes, output, strict=True
        )
    )
    padding = tuple((low, max(high, 0)) for low, high in padding)
    slide = Slide(stride, dilation, padding, params["feature_group_count"])
    if not _safe(slide, window) or slide.output(output, window) != sizes:
        return None
    groups = slide.groups

    def function(x: jax.Array, kernel: jax.Array) -> jax.Array:
        x, kernel = _images(x, numbers.lhs_spec), _kernels(kernel, numbers.rhs_spec)
        kernel = lax.rev(kernel, tuple(range(len(window))))
        return _back(
            _convolution.input_gradient(x, _adjoint(kernel, groups), slide, output),
            numbers.out_spec,
        )

    return Form("input gradient by phases of the stride", function)


def _adjoint(kernel: jax.Array, groups: int) -> jax.Array:
    """Kernel (*window, C / groups, features) as (*window, features / groups, C)."""
    *window, reads, features = kernel.shape
    split = kernel.reshape(*window, reads, groups, features // groups)
    return jnp.moveaxis(split, -1, -3).swapaxes(-1, -2).reshape(*window, -1, groups * reads)


def _is_kernel_gradient(eqn: Any, x: Any, kernel: Any) -> bool:
    """Whether the 'kernel' is as large as a map and the 'output' as small as a window."""
    numbers = eqn.params["dimension_numbers"]
    if eqn.params["feature_group_count"] != 1:
        return False
    out = eqn.outvars[0].aval
    window = [kernel.shape[axis] for axis in numbers.rhs_spec[2:]]
    result = [out.shape[axis] for axis in numbers.out_spec[2:]]
    return all(w > 2 * r for w, r in zip(window, result, strict=True))


def _kernel_gradient(eqn: Any, x: Any, kernel: Any) -> Form | None:
    """The gradient of a convolution in its kernel, as JAX writes it: a convolution over maps.

    Its 'batch' is the channels, its 'input features' the images, its stride the dilation.
    """
    params, numbers = eqn.params, eqn.params["dimension_numbers"]
    if any(d != 1 for d in params["lhs_dilation"]):
        return None
    out = eqn.outvars[0].aval
    window = tuple(out.shape[axis] for axis in numbers.out_spec[2:])
    groups = params["batch_group_count"]
    if params["feature_group_count"] != 1:
        return None
    slide = Slide(params["rhs_dilation"], params["window_strides"], params["padding"], groups)
    sizes = tuple(x.shape[axis] for axis in numbers.lhs_spec[2:])
    maps = tuple(kernel.shape[axis] for axis in numbers.rhs_spec[2:])
    slide = slide._replace(padding=_gradient_padding(slide, sizes, maps, window))
    if not _safe(slide, window) or slide.output(sizes, window) != maps:
        return None
    channels, features = x.shape[numbers.lhs_spec[0]], kernel.shape[numbers.rhs_spec[0]]
    row = choice.choose(choice.facts(channels, features, window, slide, maps))
    if row.kernel_gradient is None and groups == 1 and row.name != "pointwise":
        return None

    def function(x: jax.Array, g: jax.Array) -> jax.Array:
        x = _images(x, numbers.lhs_spec).swapaxes(0, -1)
        g = jnp.moveaxis(_kernels(g, numbers.rhs_spec), -2, 0)
        k = _convolution.kernel_gradient(x, g, slide, window)
        return _back(jnp.moveaxis(k, -2, 0), numbers.out_spec)

    return Form(f"{row.name}, kernel gradient", function)


def _gradient_padding(
    slide: Slide, sizes: Sequence[int], maps: Sequence[int], window: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """Padding of the convolution whose kernel gradient it is: the high side is what was used."""
    axes = zip(slide.padding, slide.stride, slide.dilation, sizes, maps, window, strict=True)
    return tuple(
        (low, max((m - 1) * s + d * (k - 1) + 1 - n - low, 0)) for (low, _), s, d, n, m, k in axes
    )


def _images(x: jax.Array, spec: Sequence[int]) -> jax.Array:
    """Operand of layout `spec` (batch, feature, *spatial) as (N, *spatial, C)."""
    return x.transpose(spec[0], *spec[2:], spec[1])


def _kernels(kernel: jax.Array, spec: Sequence[int]) -> jax.Array:
    """Kernel of layout `spec` (out, in, *spatial) as (*window, C / groups, features)."""
    return kernel.transpose(*spec[2:], spec[1], spec[0])


def _back(y: jax.Array, spec: Sequence[int]) -> jax.Array:
    """(N, *spatial, C) in the layout `spec` (batch, feature, *spatial)."""
    order = (spec[0], *spec[2:], spec[1])
    return y.transpose([order.index(axis) for axis in range(y.ndim)])


_RULES = {"conv_general_dilated": _convolution_form, **POOLS}
