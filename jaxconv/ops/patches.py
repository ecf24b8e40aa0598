"""Windows of an image as arrays of pixels, and the sum of windows back into an image."""

import jax

from jaxconv import _parse
from jaxconv._types import IntOrInts, Padding, PaddingMode
from jaxconv.ops import _gathers
from jaxconv.ops._cpu.taps import Slide
from jaxconv.ops.conv import Windows, plan_windows
from jaxconv.ops.pad import pad_axes


def patches(
    x: jax.Array,
    window: IntOrInts,
    *,
    stride: IntOrInts = 1,
    padding: Padding = "valid",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
) -> jax.Array:
    """Lays out the pixels that every window sees.

        y[n, i, a, c] = X[n, s·i + d·a - p, c]

    with stride s, dilation d and low padding p on each spatial axis, X the continuation of x by
    `padding_mode`. Pixels are copied, so NaN and infinity stay where they are.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', *window, C).

    Args:
        x: images, of any dtype.
        window: taps per spatial axis.
        stride: pixels from one window to the next.
        padding: as in `conv`.
        padding_mode: as in `conv`.
        dilation: pixels from one tap of the window to the next.

    Returns:
        y, of the dtype of x.

    Raises:
        ValueError: when an argument is impossible or no window fits.

    Example:
        >>> import jax.numpy as jnp
        >>> patches(jnp.arange(5).reshape(1, 5, 1), 3, stride=2)[0, :, :, 0].tolist()
        [[0, 1, 2], [2, 3, 4]]
    """
    rank = len(_parse.image("patches", x))
    size = _parse.per_axis("patches", "window", window, rank)
    plan = plan_windows("patches", x, size, stride, padding, padding_mode, dilation)
    return gather_windows("patches", x, plan)


def gather_windows(where: str, x: jax.Array, plan: Windows) -> jax.Array:
    """Pads x and lays out its windows."""
    padded = pad_axes(where, x, plan.padding, plan.modes)
    slide = Slide(plan.stride, plan.dilation, ((0, 0),) * len(plan.window))
    return _gathers.gather(padded, slide, plan.window)


def fold(
    patches: jax.Array,
    output_shape: IntOrInts,
    *,
    stride: IntOrInts = 1,
    padding: Padding = "valid",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
) -> jax.Array:
    """Sums windows into an image where they overlap: the adjoint of `patches`.

        y[n, j, c] = Σ_{i, a : s·i + d·a - p = j} patches[n, i, a, c]

    where a pixel of padding adds to the pixel that `padding_mode` copies it from ("zeros": to
    none), so that <patches(x), z> = <x, fold(z)> for every z. It takes the arguments of the
    `patches` that it is the adjoint of.

    Shapes: patches (N, *spatial', *window, C) -> y (N, *output_shape, C).

    Args:
        patches: windows of pixels, floating.
        output_shape: spatial sizes of the image.
        stride: pixels from one window to the next.
        padding: as in `conv`.
        padding_mode: as in `conv`.
        dilation: pixels from one tap of the window to the next.

    Returns:
        y, of the dtype of `patches`.

    Raises:
        TypeError: when `patches` holds integers.
        ValueError: when an image of `output_shape` has another number of windows.

    Example:
        >>> import jax.numpy as jnp
        >>> fold(jnp.ones((1, 3, 3, 1)), 5)[0, :, 0].tolist()
        [1.0, 2.0, 3.0, 2.0, 1.0]
    """
    rank = (patches.ndim - 2) // 2
    if rank < 1 or patches.ndim % 2:
        raise ValueError(
            f"fold: patches has {patches.ndim} axes; expected (N, *spatial, *window, C) with as "
            f"many window as spatial axes. Got patches of shape {patches.shape}. "
            f"Use patches[..., None] if the channel axis is missing."
        )
    _parse.floating("fold", "patches", patches)
    spatial = _parse.per_axis("fold", "output_shape", output_shape, rank)
    shape = (patches.shape[0], *spatial, patches.shape[-1])
    image = jax.ShapeDtypeStruct(shape, patches.dtype)
    window = patches.shape[1 + rank : -1]
    plan = plan_windows("fold", image, window, stride, padding, padding_mode, dilation)
    if plan.output != patches.shape[1 : 1 + rank]:
        raise ValueError(
            f"fold: an image of output_shape={spatial} has {plan.output} windows, patches holds "
            f"{patches.shape[1 : 1 + rank]}; expected as many. Got patches of shape "
            f"{patches.shape}. Use the stride, padding and dilation that patches was called with."
        )
    (y,) = jax.linear_transpose(lambda x: gather_windows("fold", x, plan), image)(patches)
    return y
