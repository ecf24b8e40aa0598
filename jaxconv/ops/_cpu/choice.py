"""Which formulation serves which shape of convolution on a CPU: the one table.

Each row names a class of shapes, the formulation of the forward pass and of both gradients, and
the measurement that put it there: operation, milliseconds of XLA's own against the row's, medians
in one process, two cores of a Zen 4 server ("small maps": Zen 5), float32, jaxlib 0.10.2.
`python -m benchmarks ops` measures each row again and says whether it still wins. The first row
that matches is taken.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxconv.ops._cpu import dense, depthwise, grouped, patches
from jaxconv.ops._cpu.grouped import lax_conv
from jaxconv.ops._cpu.taps import Slide

MOST_TAPS = 128
"""Taps unrolled into one expression: 49 compile in 0.1 s and time grows with their number."""


class Conv(NamedTuple):
    """The static facts of a convolution that the choice depends on."""

    channels: int
    features: int
    window: tuple[int, ...]
    stride: tuple[int, ...]
    groups: int
    dilation: tuple[int, ...]
    output: tuple[int, ...] = ()  # unless given, nothing is known about it

    @property
    def on_small_maps(self) -> bool:
        """Whether windows have more taps than outputs, on every axis that they span."""
        if not self.output or not all(isinstance(size, int) for size in self.output):
            return False
        spanned = [n for n, k in zip(self.output, self.window, strict=True) if k > 1]
        taps = [k for k in self.window if k > 1]
        return bool(taps) and all(n < k for n, k in zip(spanned, taps, strict=True))

    @property
    def taps(self) -> int:
        """Taps of the window."""
        return math.prod(self.window)

    @property
    def dilates_strides(self) -> bool:
        """Whether an axis has both a stride and a dilation."""
        axes = zip(self.window, self.stride, self.dilation, strict=True)
        return any(k > 1 and s > 1 and d > 1 for k, s, d in axes)

    @property
    def tiles(self) -> bool:
        """Whether windows lie one next to the other: their stride is their size, without gaps."""
        axes = zip(self.window, self.stride, self.dilation, strict=True)
        return all(k == s and (k == 1 or d == 1) for k, s, d in axes)


Forward = Callable[..., jax.Array]
Gradient = Callable[..., jax.Array] | None


class Row(NamedTuple):
    """A class of shapes and what serves it; None for a gradient means: transpose `forward`."""

    name: str
    matches: Callable[[Conv], bool]
    forward: Forward
    input_gradient: Gradient
    kernel_gradient: Gradient
    evidence: str


def _transposed_by_lax(g, kernel, slide, spatial):
    like = jax.ShapeDtypeStruct((g.shape[0], *spatial, kernel.shape[-2] * slide.groups), g.dtype)
    (x,) = jax.linear_transpose(lambda x: lax_conv(x, kernel, slide), like)(g)
    return x


def _phases_are_wide(conv: Conv) -> bool:
    """Whether every phase of the stride keeps two taps or more on each axis."""
    return all(k >= 2 * s for k, s in zip(conv.window, conv.stride, strict=True))


_ABORTS = (
    "jaxlib 0.10.2 aborts the process when it compiles the input gradient of a 2x3 window of "
    "stride (2, 3) and dilation (1, 2) on 8x9 pixels"
)

ABORTING = ("grouped, dilated strides", "dilated strides")
"""Rows of shapes for which jaxlib aborts; without primitives they are padded before."""

TABLE = (
    Row(
        "depthwise",
        lambda c: c.groups == c.channels and c.groups > 1 and c.taps <= MOST_TAPS,
        depthwise.forward,
        depthwise.input_gradient,
        depthwise.kernel_gradient,
        "3x3 256@28 batch 8: 47.6 -> 0.8, input gradient 1.3, kernel gradient 48 -> 2.3",
    ),
    Row(
        "grouped, dilated strides",
        lambda c: c.groups > 1 and c.dilates_strides,
        grouped.forward,
        dense.input_gradient_by_block,
        None,
        _ABORTS,
    ),
    Row(
        "grouped",
        lambda c: c.groups > 1,
        grouped.forward,
        None,
        None,
        "3x3 128@28 batch 8, 32 groups: 17.9 -> 3.75, both gradients 2332 -> 9.8",
    ),
    Row(
        "small maps",
        lambda c: c.on_small_maps and c.taps <= MOST_TAPS,
        dense.by_window,
        None,
        None,
        "3x3 512-512@2 batch 8: 103 -> 1.6, gradients 106 -> 1.6 and 1.5 -> 1.0; 5x5 128-128@4: "
        "9.4 -> 0.9, 9.2 -> 0.8, 0.5 -> 0.6; not 3x3 256-256@3: 0.6 -> 0.6, 0.8 -> 0.4, 0.7 -> 0.4",
    ),
    Row(
        "dilated strides",
        lambda c: c.dilates_strides,
        lax_conv,
        dense.input_gradient_by_phase,
        None,
        _ABORTS,
    ),
    Row(
        "pointwise",
        lambda c: c.taps == 1,
        dense.pointwise,
        None,
        None,
        "1x1 256-256@28 batch 8: 10.3 -> 4.9, gradients 11.1 -> 4.9 and 19.6 -> 6.6",
    ),
    Row(
        "stem",
        lambda c: c.taps * c.channels <= 27,
        dense.by_tap,
        _transposed_by_lax,
        dense.by_row,
        "3x3 1-32@28 batch 64: 0.60 -> 0.36, kernel gradient 2.35 -> 1.08",
    ),
    Row(
        "patches",
        lambda c: c.tiles,
        patches.forward,
        patches.input_gradient,
        patches.kernel_gradient,
        "4x4 stride 4 3-96@224 batch 4: 0.91 -> 0.69, gradients 1.57 -> 0.95 and 5.43 -> 1.12; "
        "2x2 stride 2 96-192@56 batch 4: 2.8 -> 2.8, 3.1 -> 2.8 and 12.8 -> 6.6",
    ),
    Row(
        "volumes",
        lambda c: len(c.window) > 2,
        dense.by_plane,
        None,
        None,
        "3x3x3 16-32@16 batch 2: 8.2 -> 1.4, gradients 15.2 -> 1.4 and 18.4 -> 2.5",
    ),
    Row(
        "strided",
        lambda c: max(c.stride) > 1 and _phases_are_wide(c),
        lax_conv,
        dense.input_gradient_by_phase,
        None,
        "7x7 stride 2 3-64@224 batch 4: input gradient 21.5 -> 10.1; 4x4 stride 2 64-64@56 batch "
        "8: 6.5 -> 4.3; not 3x3 stride 2 64-128@56 batch 8: 4.1 -> 4.9",
    ),
    Row("dense", lambda c: True, lax_conv, None, None, "nothing in plain lax beats XLA's own"),
)


def facts(
    channels: int,
    features: int,
    window: tuple[int, ...],
    slide: Slide,
    output: tuple[int, ...] = (),
) -> Conv:
    """The facts of a convolution, from how its window slides."""
    return Conv(channels, features, window, slide.stride, slide.groups, slide.dilation, output)


def choose(conv: Conv) -> Row:
    """The first row of the table that matches."""
    return next(row for row in TABLE if row.matches(conv))
