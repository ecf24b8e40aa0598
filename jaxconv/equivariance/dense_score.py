"""Scores of functions that make maps: whether the maps follow their input."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.compiler_options import tuned_jit
from jaxconv.equivariance import _errors, _frame, _run
from jaxconv.equivariance._program import mapped
from jaxconv.equivariance.actions import Action, Shifts
from jaxconv.equivariance.measure import resolve


class DenseConsistency(NamedTuple):
    """How well maps follow their input.

    Attributes:
        kind: how images were shifted.
        extent: smallest and largest displacement along each axis.
        shifts: how many shifts every image was given; each is compared with the unshifted image.
        images: how many.
        seed: of drawn shifts.
        c_pixel: share of compared pixels with the same first class, over all shifts.
        c_all: share of images with the same first class at every compared pixel of every shift.
        eq_t: 10·log10(range² / mean squared difference) in dB over compared pixels; larger is
            better.
        range: of the outputs, the signal that eq_t compares with.
    """

    kind: str
    extent: tuple[float, float]
    shifts: int
    images: int
    seed: int
    c_pixel: float
    c_all: float
    eq_t: float
    range: float

    def __str__(self) -> str:
        """The numbers under the protocol that they belong to."""
        return (
            f"{self.kind}, {self.shifts} shifts from {self.extent[0]:g} to {self.extent[1]:g} "
            f"pixels, against the unshifted where the law is known, {self.images} images, "
            f"seed {self.seed}\nC_pixel {self.c_pixel:.2%} · C_all {self.c_all:.2%} · "
            f"EQ-T {self.eq_t:.1f} dB of range {self.range:.3g}"
        )


def dense_consistency(
    f: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    *,
    action: Action | str = "circular",
    shifts: Shifts = "all",
    chunk: int | None = None,
    border: Any = None,
    stride: Any = None,
    seed: int = 0,
) -> DenseConsistency:
    """Compares maps of moved images with moved maps: classes per pixel, and in dB.

        EQ-T = 10·log10(I² / mean (T f(x) - f(T x))²), over pixels where T f(x) is known

    Args:
        f: images (N, *spatial, C) to maps (N, *spatial', channels).
        x: the images.
        action: "circular", "interior", or an `Action` that displaces.
        shifts: "all", how many to draw, or rows of them; for an action given by name.
        chunk: shifts at once; bounds memory.
        border: outputs at the ends that see the edge; measured unless given.
        stride: input pixels per output pixel; the ratio of sizes unless given.
        seed: of drawn shifts.

    Returns:
        A `DenseConsistency`.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
        >>> dense_consistency(lambda x: 2 * x, x).c_all
        1.0

    References:
        Karras et al. 2021, arXiv:2106.12423, equation 3 (EQ-T).
    """
    options = {"period": None, "lattice": 1, "seed": seed}
    action = resolve("dense_consistency", action, shifts, options)
    spec = _frame.Spec("dense_consistency", law="equivariant", stride=stride, border=border)
    setup = _run.prepare(f, x, action, spec, chunk)
    y, _, setup = _run.probe(setup, seed)
    elements = _run.comparable(setup, action.elements(setup.sizes))
    same, error, count = _agreement(setup, y, elements)
    leaf = np.asarray(y[0], np.float64)
    span = float(leaf.max() - leaf.min())
    mean = error.sum() / max(count.sum() * leaf.shape[-1], 1)
    decibel = 10 * np.log10(span**2 / mean) if mean > 0 else np.inf
    return DenseConsistency(
        action.name,
        (float(elements.min()), float(elements.max())),
        len(elements),
        len(x),
        seed,
        float(same.sum() / (count.sum() * len(x))),
        float((same == count[:, None]).all(axis=0).mean()),
        float(decibel),
        span,
    )


def _agreement(
    setup: _run.Setup, y: list[jax.Array], elements: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the first leaf: pixels (shifts, images) whose first class agrees, Σ error², pixels."""
    frame, leaf = setup.frames[0], y[0]
    exact = _run.whole_rows(setup, elements)

    def one(constants, leaves, y, element, *, whole):
        actual = setup.program.run(constants, _run.moved_inputs(setup, leaves, element))[0]
        expected, known = _run.law_of(setup, frame, y, element, whole=whole)
        clean = _errors.inside(y.shape, frame, _run.displacement(setup, frame, element))
        known = known & clean if setup.action.line else known
        pixels = jnp.broadcast_to(known, (*y.shape[:-1], 1))[..., 0]
        same = (jnp.argmax(expected, -1) == jnp.argmax(actual, -1)) & pixels
        square = jnp.where(known, _errors.gap(expected, actual) ** 2, 0)
        inner = tuple(range(1, same.ndim))
        return same.sum(axis=inner), square.sum(), pixels[0].sum()

    parts, order = [], []
    for whole in (True, False):
        rows = np.flatnonzero(exact == whole)
        if len(rows):

            def run(constants, leaves, y, rows, whole=whole):
                step = lambda e: one(constants, leaves, y, e, whole=whole)
                return mapped(step, rows, setup.chunk)

            leaves = setup.program.leaves
            chosen = jnp.asarray(elements[rows])
            found = tuned_jit(run)(setup.program.constants, leaves, leaf, chosen)
            parts.append([np.asarray(part, np.float64) for part in found])
            order.append(rows)
    back = np.argsort(np.concatenate(order))
    same, error, pixels = (np.concatenate(p)[back] for p in zip(*parts, strict=True))
    return same, error / len(leaf), pixels
