"""Actions that read new content or between pixels: crops of a larger image, real translations."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv import _parse
from jaxconv.equivariance import _moves
from jaxconv.equivariance.actions import Action, Shifts, everywhere, grid, line_law, scaled


def crop_shift(
    size: int | Sequence[int], shifts: Shifts = "all", *, method: str = "none", seed: int = 0
) -> Action:
    """Cuts windows out of a larger image; real content enters, as when a camera moves.

        (T_t x)[i] = x[m - t + i], i < size, m = (n - size) // 2

    f is given crops of `size`; the untransformed input is the central one. Only the interior is
    compared, or the whole of an output that must not move.

    Args:
        size: of the crops, per moved axis.
        shifts: "all" whole shifts from -m to m, how many of them to draw, or rows; these may be
            fractions when there is a `method`.
        method: "none" for whole pixels, or how to read between pixels: "bilinear", "lanczos"
            (radius 3).
        seed: of the draw.

    Returns:
        An `Action`.

    Example:
        >>> len(crop_shift(6).elements((8, 8)))
        9
    """
    _parse.choice("crop_shift", "method", method, ("none", *_moves.KERNEL_RADIUS))
    reader = "lanczos" if method == "none" else method

    def cuts(sizes):
        return _parse.per_axis("crop_shift", "size", size, len(sizes))  # type: ignore[arg-type]

    def middle(n, cut):
        if n < cut:
            raise ValueError(
                f"crop_shift: an axis has {n} pixels; expected at least the {cut} of a crop. "
                f"Got size={size}. Use size={n} or less, or a larger image."
            )
        return (n - cut) // 2

    def elements(sizes):
        margins = [middle(n, cut) for n, cut in zip(sizes, cuts(sizes), strict=True)]
        return grid("crop_shift", [range(-m, m + 1) for m in margins], shifts, seed)

    def move(x, element, axes):
        for i, (axis, cut) in enumerate(zip(axes, cuts(axes), strict=True)):
            start = middle(x.shape[axis], cut) - element[i]
            if method == "none":
                start = jnp.clip(jnp.round(start), 0, x.shape[axis] - cut).astype(int)
                x = jax.lax.dynamic_slice_in_dim(x, start, cut, axis)
            else:
                x, _ = _moves.sample(x, start, cut, axis, method)
        return x

    def base(x, axes):
        return move(x, np.zeros(len(axes), np.float32), axes)

    return Action("crop", elements, move, line_law(reader), base, line=True)


def translation(shifts: Sequence[Any] | np.ndarray = ((0.5,),), *, nyquist: str = "real") -> Action:
    """Translates the input by real amounts through its spectrum; circular.

        T_t x = irfft(exp(-2πi·k·t/n) · rfft(x))

    The exact translation of the band-limited signal that the pixels are samples of. Inputs should
    have little at the Nyquist frequency, about which samples say nothing.

    Args:
        shifts: rows of displacements in pixels; a row of one number moves every axis by it.
        nyquist: "real" multiplies the Nyquist frequency by cos(πt), which agrees with the roll at
            whole t; "zero" removes it, so that two half pixels make a whole one.

    Returns:
        An `Action`.

    Example:
        >>> translation([[0.5, 0.25]]).elements((8, 8)).tolist()
        [[0.5, 0.25]]

    References:
        Michaeli, Michaeli and Soudry 2023, arXiv:2303.08085, section 3 (ideal translation).
    """
    _parse.choice("translation", "nyquist", nyquist, ("real", "zero"))

    def law(y, element, frame, whole):
        del whole  # a roll where whole, up to the rounding of the FFT
        shift = scaled(element, frame, whole=False)
        return _moves.each(_moves.spectral, y, shift, frame.axes, nyquist), everywhere(y)

    def elements(sizes):
        rows = np.asarray(shifts, float)
        if rows.ndim == 2 and rows.shape[1] == 1:
            rows = np.repeat(rows, len(sizes), axis=1)
        return grid("translation", [range(1)] * len(sizes), rows, 0)

    return Action(
        "translation",
        elements,
        lambda x, element, axes: _moves.each(_moves.spectral, x, element, axes, nyquist),
        law,
    )
