"""Convolutions as loops over the formulas of their docstrings, in float64; nothing of jaxconv."""

import itertools

import numpy as np


def source(position, size, mode):
    """The pixel of an axis that its continuation repeats at `position`; None is a zero."""
    if 0 <= position < size:
        return position
    if mode == "zeros":
        return None
    if mode == "circular":
        return position % size
    if mode == "edge":
        return 0 if position < 0 else size - 1
    while not 0 <= position < size:  # reflect: mirrors at 0 and at size - 1, the border not doubled
        position = 0 if size == 1 else -position if position < 0 else 2 * (size - 1) - position
    return position


def output_size(size, window, stride, pads, dilation):
    """Counts the places of a window one by one."""
    places = range(-pads[0], size + pads[1] - dilation * (window - 1), stride)
    return len(places)


def taps(spatial, window, stride, pads, modes, dilation):
    """Yields (i, a, j): output pixel i sees input pixel j through tap a; zeros are left out."""
    axes = zip(spatial, window, stride, pads, dilation, strict=True)
    output = [output_size(*axis) for axis in axes]
    for i in itertools.product(*map(range, output)):
        for a in itertools.product(*map(range, window)):
            j = tuple(
                source(s * p + d * q - pad[0], n, mode)
                for s, p, d, q, pad, n, mode in zip(
                    stride, i, dilation, a, pads, spatial, modes, strict=True
                )
            )
            if None not in j:
                yield i, a, j


def conv(x, kernel, *, stride, pads, modes, dilation, groups=1):
    """Sums kernel[a, c, o] x[n, s i + d a - p, c] over a and c."""
    spatial, window = x.shape[1:-1], kernel.shape[:-2]
    axes = zip(spatial, window, stride, pads, dilation, strict=True)
    output = [output_size(*axis) for axis in axes]
    y = np.zeros((x.shape[0], *output, kernel.shape[-1]))
    reads, makes = kernel.shape[-2], kernel.shape[-1] // groups
    for i, a, j in taps(spatial, window, stride, pads, modes, dilation):
        for g in range(groups):
            pixel = x[(slice(None), *j, slice(g * reads, (g + 1) * reads))]
            made = slice(g * makes, (g + 1) * makes)
            y[(slice(None), *i, made)] += pixel @ kernel[(*a, slice(None), made)]
    return y


def conv_transpose(y, kernel, spatial, *, stride, pads, modes, dilation, groups=1):
    """Adds kernel[a, c, o] y[n, i, o] to pixel j for every i, a whose window reads j."""
    reads, makes = kernel.shape[-2], kernel.shape[-1] // groups
    x = np.zeros((y.shape[0], *spatial, reads * groups))
    for i, a, j in taps(spatial, kernel.shape[:-2], stride, pads, modes, dilation):
        for g in range(groups):
            made = slice(g * makes, (g + 1) * makes)
            pixel = y[(slice(None), *i, made)] @ kernel[(*a, slice(None), made)].T
            x[(slice(None), *j, slice(g * reads, (g + 1) * reads))] += pixel
    return x


def local_conv(x, kernel, *, stride, pads, modes, dilation):
    """Sums kernel[i, a, c, o] x[n, s i + d a - p, c] over a and c."""
    rank = x.ndim - 2
    y = np.zeros((x.shape[0], *kernel.shape[:rank], kernel.shape[-1]))
    window = kernel.shape[rank : 2 * rank]
    for i, a, j in taps(x.shape[1:-1], window, stride, pads, modes, dilation):
        y[(slice(None), *i)] += x[(slice(None), *j)] @ kernel[(*i, *a)]
    return y


def patches(x, window, *, stride, pads, modes, dilation):
    """Copies x[n, s i + d a - p, c] to [n, i, a, c]."""
    axes = zip(x.shape[1:-1], window, stride, pads, dilation, strict=True)
    y = np.zeros((x.shape[0], *[output_size(*axis) for axis in axes], *window, x.shape[-1]))
    for i, a, j in taps(x.shape[1:-1], window, stride, pads, modes, dilation):
        y[(slice(None), *i, *a)] = x[(slice(None), *j)]
    return y


def fold(windows, spatial, *, stride, pads, modes, dilation):
    """Adds windows[n, i, a, c] to pixel j for every i, a whose window reads j."""
    rank = len(spatial)
    window = windows.shape[1 + rank : -1]
    x = np.zeros((windows.shape[0], *spatial, windows.shape[-1]))
    for i, a, j in taps(spatial, window, stride, pads, modes, dilation):
        x[(slice(None), *j)] += windows[(slice(None), *i, *a)]
    return x
