"""What every formulation shares: the window as taps, each a strided slice of the padded input."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv import geometry

Offsets = tuple[int, ...]


class Slide(NamedTuple):
    """How a window slides over the spatial axes; one entry per axis."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    groups: int = 1

    def output(self, spatial: Sequence[int], window: Sequence[int]) -> tuple[int, ...]:
        """Sizes of the output."""
        axes = zip(spatial, window, self.stride, self.dilation, self.padding, strict=True)
        return tuple(geometry.output_size(*axis) for axis in axes)


def offsets(window: Sequence[int]) -> Iterator[Offsets]:
    """Every tap of a window, row-major."""
    return itertools.product(*map(range, window))


def pad_spatial(x: jax.Array, padding: Sequence[tuple[int, int]], value: float = 0) -> jax.Array:
    """Pads axes 1 .. len(padding) of x, or crops them where negative."""
    if all(pair == (0, 0) for pair in padding):
        return x
    rest = ((0, 0, 0),) * (x.ndim - 1 - len(padding))
    config = ((0, 0, 0), *((low, high, 0) for low, high in padding), *rest)
    return lax.pad(x, jnp.asarray(value, x.dtype), config)


def tap(x: jax.Array, offset: Offsets, output: Sequence[int], slide: Slide) -> jax.Array:
    """The pixels of a padded x that one tap of the window meets, one per output pixel."""
    rank = len(output)
    start = [o * d for o, d in zip(offset, slide.dilation, strict=True)]
    stop = [
        first + (size - 1) * stride + 1
        for first, size, stride in zip(start, output, slide.stride, strict=True)
    ]
    rest = x.shape[1 + rank :]
    return lax.slice(
        x,
        (0, *start, *(0 for _ in rest)),
        (x.shape[0], *stop, *rest),
        (1, *slide.stride, *(1 for _ in rest)),
    )


def in_halves(compute: Callable[[int, int], jax.Array], rows: int) -> jax.Array:
    """`compute(first, count)` for both halves of the rows, one below the other.

    XLA hands reductions to a library that takes the elementwise operations before them along, as
    many as it can, and then wants every slice and every broadcast weight in memory: a 7 × 7
    depthwise convolution of 4 × 56 × 56 × 96 and the layer norm behind it took 101 ms, 14 slices
    written out, and take 9. It does not reach through a concatenation, which itself costs nothing
    that could be measured: both halves are written where they belong.
    """
    if rows < 2:
        return compute(0, rows)
    half = rows // 2
    return jnp.concatenate([compute(0, half), compute(half, rows - half)], axis=1)


def total(terms: Iterable[jax.Array]) -> jax.Array:
    """The sum of one term or more, as a sum of about √n partial sums of √n terms.

    Rounding errors grow with the number of terms that are added one by one: of 9, 31 and 49 taps
    in float32 5.5e-8, 1.0e-7 and 1.3e-7 (root mean square, relative) become 4.9e-8, 6.9e-8 and
    7.3e-8, at the same speed.
    """
    terms = list(terms)
    length = math.isqrt(len(terms) - 1) + 1
    parts = [terms[i : i + length] for i in range(0, len(terms), length)]
    return _added([_added(part) for part in parts])


def _added(terms: list[jax.Array]) -> jax.Array:
    return sum(terms[1:], terms[0])


def rows_of(x: jax.Array, first: int, count: int, stride: int = 1, reach: int = 1) -> jax.Array:
    """What `count` windows along axis 1 meet, from window `first` on; each spans `reach` pixels."""
    start = first * stride
    return lax.slice_in_dim(x, start, start + (count - 1) * stride + reach, axis=1)


def turned(kernel: jax.Array, slide: Slide) -> tuple[jax.Array, Slide]:
    """The convolution that is the input gradient of one with stride 1: its kernel, how it slides.

    Its padding is negative where there was more than the window reaches.
    """
    window = kernel.shape[:-2]
    reach = [d * (k - 1) for d, k in zip(slide.dilation, window, strict=True)]
    pairs = zip(reach, slide.padding, strict=True)
    padding = tuple((far - low, far - high) for far, (low, high) in pairs)
    around = lax.rev(kernel, tuple(range(len(window)))).swapaxes(-1, -2)
    return around, slide._replace(padding=padding)


def along_last(weights: jax.Array, like: jax.Array) -> jax.Array:
    """Weights with leading axes of size 1, as many as `like` has more."""
    return weights.reshape((1,) * (like.ndim - weights.ndim) + weights.shape)


def accumulator(x: jax.Array) -> jax.typing.DTypeLike:
    """Sums of 16-bit numbers are kept in float32."""
    return jnp.float32 if x.dtype.itemsize < 4 else x.dtype


def phase_taps(window: int, stride: int, dilation: int, low: int) -> list[list[tuple[int, int]]]:
    """For each input phase a mod s: the taps i that reach it, with the output offset of each.

    Input pixel s·m + a meets tap i from output m + u, u = (a + p - i·d) / s, where s divides it.
    """
    return [
        [
            (i, (a + low - i * dilation) // stride)
            for i in range(window)
            if (a + low - i * dilation) % stride == 0
        ]
        for a in range(stride)
    ]


class Phases(NamedTuple):
    """How the outputs of a strided window are read back, phase by phase of the input."""

    taps: list[list[list[tuple[int, int]]]]  # per axis, per phase: (tap, output offset)
    padding: tuple[tuple[int, int], ...]  # of the outputs, so that every offset is inside
    counts: tuple[int, ...]  # pixels per phase, ⌈n / s⌉

    def __iter__(self):
        """Every combination of phases, row-major: the taps of each axis."""
        return itertools.product(*self.taps)


def phases(
    spatial: Sequence[int], output: Sequence[int], window: Sequence[int], slide: Slide
) -> Phases:
    """Splits the input grid of a strided window into its phases modulo the stride."""
    taps, padding, counts = [], [], []
    axes = zip(spatial, output, window, slide.stride, slide.dilation, slide.padding, strict=True)
    for size, out, k, stride, dilation, (low, _) in axes:
        per_phase = phase_taps(k, stride, dilation, low)
        count = -(-size // stride)
        reach = [u for phase in per_phase for _, u in phase] or [0]
        below, above = max(0, -min(reach)), max(0, max(reach) + count - out)
        taps.append([[(i, u + below) for i, u in phase] for phase in per_phase])
        padding.append((below, above))
        counts.append(count)
    return Phases(taps, tuple(padding), tuple(counts))


def shifted(x: jax.Array, offset: Offsets, sizes: Sequence[int]) -> jax.Array:
    """x[:, u : u + size, ...] on every spatial axis."""
    rest = x.shape[1 + len(sizes) :]
    stop = [u + size for u, size in zip(offset, sizes, strict=True)]
    return lax.slice(x, (0, *offset, *(0 for _ in rest)), (x.shape[0], *stop, *rest), (1,) * x.ndim)


def interleave(parts: list[jax.Array], stride: Sequence[int], spatial: Sequence[int]) -> jax.Array:
    """Puts phases, row-major, back into one grid and crops it to `spatial`."""
    rank = len(stride)
    if len(parts) == 1:
        grid = parts[0]
    else:
        first = parts[0]
        stacked = jnp.stack(parts, axis=0).reshape(*stride, *first.shape)
        order = [rank]  # the batch axis
        for axis in range(rank):
            order += [rank + 1 + axis, axis]
        order += list(range(2 * rank + 1, stacked.ndim))
        sizes = [count * s for count, s in zip(first.shape[1:], stride, strict=False)]
        grid = stacked.transpose(order).reshape(first.shape[0], *sizes, *first.shape[1 + rank :])
    return shifted(grid, (0,) * rank, spatial)


def largest_divisor(size: int, low: int = 4, high: int = 16, aim: int = 8) -> int | None:
    """The divisor of `size` in low .. high that is nearest to `aim`, if there is one."""
    divisors = [d for d in range(low, high + 1) if size % d == 0]
    return min(divisors, key=lambda d: abs(d - aim)) if divisors else None


def lax_conv(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """XLA's own convolution, channels last, sums of 16-bit numbers in float32."""
    spatial = "".join(chr(ord("a") + axis) for axis in range(len(slide.stride)))
    y = lax.conv_general_dilated(
        x,
        kernel,
        slide.stride,
        slide.padding,
        rhs_dilation=slide.dilation,
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        feature_group_count=slide.groups,
        preferred_element_type=np.promote_types(x.dtype, np.float32),
    )
    return y.astype(x.dtype)
