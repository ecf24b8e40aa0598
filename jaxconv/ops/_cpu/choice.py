"""Which formulation serves which shape of convolution on a CPU: the one table.

Each row names a class of shapes, the formulation of the forward pass and of both gradients, and
the measurement that put it there: operation, milliseconds of XLA's own against the row's, medians
in one process, two cores of a Zen 4 server ("small maps": Zen 5), float32, jaxlib 0.10.2.
`python -m benchmarks ops` measures each row again and says whether it still wins. The first row
that matches is taken.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxconv.ops._cpu import dense, depthwise, grouped, patches, strided
from jaxconv.ops._cpu.facts import Conv as Conv
from jaxconv.ops._cpu.facts import facts as facts
from jaxconv.ops._cpu.taps import lax_conv

MOST_TAPS = 128
"""Taps unrolled into one expression: 49 compile in 0.1 s and time grows with their number."""


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


def _input_gradient_of(form: Forward) -> Forward:
    """The transpose of a formulation in its first operand, under its name."""

    @functools.wraps(form)
    def gradient(g, kernel, slide, spatial):
        channels = kernel.shape[-2] * slide.groups
        like = jax.ShapeDtypeStruct((g.shape[0], *spatial, channels), g.dtype)
        return jax.linear_transpose(lambda x: form(x, kernel, slide), like)(g)[0]

    return gradient


def _kernel_gradient_of(form: Forward) -> Forward:
    """The transpose of a formulation in its second operand, under its name."""

    @functools.wraps(form)
    def gradient(x, g, slide, window):
        shape = (*window, x.shape[-1] // slide.groups, g.shape[-1])
        like = jax.ShapeDtypeStruct(shape, x.dtype)
        return jax.linear_transpose(lambda k: form(x, k, slide), like)(g)[0]

    return gradient


def _phases_are_wide(conv: Conv, taps: int) -> bool:
    """Whether every phase of the stride keeps so many taps or more on each axis."""
    return all(k >= taps * s for k, s in zip(conv.window, conv.stride, strict=True))


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
        grouped.input_gradient_by_phase,
        grouped.kernel_gradient,
        _ABORTS,
    ),
    Row(
        "grouped",
        lambda c: c.groups > 1,
        grouped.forward,
        grouped.input_gradient,
        grouped.kernel_gradient,
        "3x3 128@28 batch 8, 32 groups: 14.0 -> 2.5, gradients 12.9 -> 2.5 and 1334 -> 2.7; 91@29 "
        "batch 3, 7 groups: 4.6 -> 0.8, kernel gradient 95 -> 2.0; 256@28 batch 8, 8 groups: "
        "29 -> 4.4",
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
        dense.pointwise_input_gradient,
        None,
        "1x1 256-256@28 batch 8: 10.3 -> 4.9, gradients 11.1 -> 4.9 and 19.6 -> 6.6",
    ),
    Row(
        "stem, few features",
        lambda c: c.taps * c.channels <= 27 and c.features <= 8,
        dense.by_tap,
        _input_gradient_of(dense.by_window),
        _kernel_gradient_of(lax_conv),
        "5x5 1-6@28 batch 128 on two cores of a Zen 3 server: 9.2 -> 1.6; kernel gradient 4.1, by "
        "rows 7.1, of 1-8 3.2 and 5.8",
    ),
    Row(
        "stem",
        lambda c: c.taps * c.channels <= 27,
        dense.by_tap,
        _input_gradient_of(dense.by_window),
        dense.by_row,
        "3x3 1-32@28 batch 64: 0.60 -> 0.36, kernel gradient 2.35 -> 1.08; input gradients on two "
        "cores of a Zen 3 server 2.8 -> 1.0, of 3-16@32 batch 64 4.0 -> 1.9",
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
        dense.by_row,
        "3x3x3 16-32@16 batch 2: 8.2 -> 1.4, gradients 15.2 -> 1.4 and 10.2 -> 1.9",
    ),
    Row(
        "strided, few channels",
        lambda c: c.channels < 8 and max(c.stride) > 1 and _phases_are_wide(c, 3),
        lax_conv,
        strided.input_gradient_together,
        None,
        "7x7 stride 2 3-64@224 batch 4: input gradient 21.1 -> 16.7",
    ),
    Row(
        "strided",
        lambda c: c.channels >= 8 and max(c.stride) > 1 and _phases_are_wide(c, 2),
        lax_conv,
        strided.input_gradient_by_tap,
        None,
        "input gradients: 4x4 stride 2 64-64@56 batch 8: 7.3 -> 3.4",
    ),
    Row(
        "dense",
        lambda c: True,
        lax_conv,
        None,
        None,
        "alone, 3x3 64-64@56 batch 8 by rows takes 5.1 and not 8.6, but the training steps of "
        "ResNet-20 and ResNet-18 gain nothing and compile for longer; so too 3x3 stride 2",
    ),
)


def choose(conv: Conv) -> Row:
    """The first row of the table that matches."""
    return next(row for row in TABLE if row.matches(conv))


def forward(conv: Conv) -> Forward:
    """What computes it: `f(x, kernel, slide)`."""
    return choose(conv).forward


def input_gradient(conv: Conv) -> Forward:
    """What computes its gradient in x: `f(g, kernel, slide, spatial)`."""
    row = choose(conv)
    return row.input_gradient or _input_gradient_of(row.forward)


def kernel_gradient(conv: Conv) -> Forward:
    """What computes its gradient in the kernel: `f(x, g, slide, window)`."""
    row = choose(conv)
    return row.kernel_gradient or _kernel_gradient_of(row.forward)
