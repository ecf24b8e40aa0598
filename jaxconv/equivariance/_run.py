"""Evaluates both sides of a law for many elements, in two compiled programs and bounded memory."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.compiler_options import tuned_jit
from jaxconv.equivariance import _errors, _frame
from jaxconv.equivariance._program import Program, chunk_of, mapped, traced
from jaxconv.equivariance.actions import Action, Frame


class Setup(NamedTuple):
    """A check made ready.

    Attributes:
        program: the traced function.
        action: the action.
        spec: the options.
        frames: how every output leaf must move.
        in_axes: moved axes of every input leaf.
        based: the leaves that f is given untransformed.
        sizes: moved sizes of the leaves of x.
        chunk: elements evaluated at once.
    """

    program: Program
    action: Action
    spec: _frame.Spec
    frames: tuple[Frame, ...]
    in_axes: tuple[tuple[int, ...], ...]
    based: list[jax.Array]
    sizes: tuple[int, ...]
    chunk: int

    @property
    def in_dtype(self) -> Any:
        """The dtype of the first moved input leaf."""
        pairs = zip(self.based, self.in_axes, strict=True)
        return next(leaf.dtype for leaf, axes in pairs if axes)


def prepare(
    f: Callable[[Any], Any], x: Any, action: Action, spec: _frame.Spec, chunk: int | None
) -> Setup:
    """Traces f and settles which axes move, of inputs and outputs."""
    leaves, tree = jax.tree.flatten(x)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    in_axes, sizes = _frame.input_axes(spec, leaves)
    based = [
        action.base(leaf, axes) if axes else leaf
        for leaf, axes in zip(leaves, in_axes, strict=True)
    ]
    program = traced(f, tree.unflatten(leaves), tree.unflatten(based))
    lead, shape = next((ax, leaf.shape) for ax, leaf in zip(in_axes, based, strict=True) if ax)
    given = [shape[axis] for axis in lead]
    frames = tuple(_frame.output_frame(spec, action, s, given, lead) for s in program.shapes)
    return Setup(
        program, action, spec, frames, tuple(in_axes), based, sizes, chunk_of(chunk, based)
    )


def probe(setup: Setup, seed: int) -> tuple[list[jax.Array], list[float], Setup]:
    """f(x), its noise floor, and the border of every output that moves.

    One program evaluates f on x, on x with every number off by one rounding, and on x with its
    first or last pixels along each moved axis replaced. Outputs at an end that a change of the
    pixels at that end reaches count as border: they see beyond the edge, or nearly.
    """
    wants_border = any(frame.axes and frame.border is None for frame in setup.frames)
    keys = [jnp.issubdtype(leaf.dtype, jax.dtypes.extended) for leaf in setup.based]
    pairs = list(zip(setup.based, keys, strict=True))
    # in NumPy nothing is compiled
    based: list[Any] = [leaf if key else np.asarray(leaf) for leaf, key in pairs]
    variants = [based, _rounded(setup, based, seed)]
    if wants_border:
        variants += _changed_ends(setup, based, seed)
    columns = zip(zip(*variants, strict=True), keys, strict=True)
    stacked = [jnp.stack(leaves) if key else np.stack(leaves) for leaves, key in columns]

    def all_of(constants, stacked):
        outs = mapped(lambda ls: setup.program.run(constants, ls), stacked, setup.chunk)
        return [out[0] for out in outs], outs

    y, outs = tuned_jit(all_of)(setup.program.constants, stacked)
    outs = jax.device_get(outs)
    root = max(setup.program.depth, 1) ** 0.5
    noise = [_relative_change(out) * root for out in outs]
    if wants_border:
        frames = [_with_border(f, out) for f, out in zip(setup.frames, outs, strict=True)]
        setup = setup._replace(frames=tuple(frames))
    return y, noise, setup


def _rounded(setup: Setup, based: list[Any], seed: int) -> list[Any]:
    """The inputs, every number that moves off by half a unit in its last place, up or down."""
    rng = np.random.default_rng(seed)
    out = []
    for leaf, axes in zip(based, setup.in_axes, strict=True):
        if axes and jnp.issubdtype(leaf.dtype, jnp.floating):
            wide = leaf if leaf.dtype == np.float64 else leaf.astype(np.float32)
            half = wide.dtype.type(float(jnp.finfo(leaf.dtype).eps) / 2 * 1.01)
            signs = (rng.integers(0, 2, leaf.shape) * 2 - 1).astype(wide.dtype)
            leaf = (wide + wide * (signs * half)).astype(leaf.dtype)
        out.append(leaf)
    return out


def _changed_ends(setup: Setup, based: list[Any], seed: int) -> list[list[Any]]:
    """The inputs with other numbers at one end of one moved axis, once for each end."""
    rng = np.random.default_rng(seed + 1)
    variants = []
    for i in range(len(next(axes for axes in setup.in_axes if axes))):
        for end in (0, -1):
            leaves = list(based)
            for j, axes in enumerate(setup.in_axes):
                if axes:
                    leaves[j] = _replaced(leaves[j], axes[i], end, rng)
            variants.append(leaves)
    return variants


def _replaced(leaf: np.ndarray, axis: int, end: int, rng: np.random.Generator) -> np.ndarray:
    """The leaf with the slice at one end of an axis replaced by other numbers of its size."""
    index = tuple(end if a == axis else slice(None) for a in range(leaf.ndim))
    part, leaf = leaf[index], leaf.copy()
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        size = np.abs(leaf).max().astype(np.float64) + 1
        noise = rng.normal(size=part.shape)
        leaf[index] = (part.astype(np.float64) + 3 * size * noise).astype(leaf.dtype)
    else:
        leaf[index] = (part == 0).astype(leaf.dtype)
    return leaf


def _relative_change(outs: np.ndarray) -> float:
    """Between the first two, relative to the largest of the first; 0 where either is no number."""
    if not outs[0].size:
        return 0.0
    wide = np.complex128 if np.iscomplexobj(outs) else np.float64
    one, two = outs[0].astype(wide), outs[1].astype(wide)
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        return 0.0
    return float(np.abs(one - two).max() / max(np.abs(one).max(), 1e-300))


def _with_border(frame: Frame, outs: np.ndarray) -> Frame:
    """The frame with its border: how far from each end a change of the input's end reaches."""
    if not frame.axes or frame.border is not None:
        return frame
    base, changed, pairs = outs[0], outs[2:], []
    for i, axis in enumerate(frame.axes):
        size = base.shape[axis]
        others = tuple(a for a in range(base.ndim) if a != axis)
        first, last = (
            np.flatnonzero(np.any(_differ(base, changed[2 * i + end]), axis=others))
            for end in range(2)
        )
        low = max((int(n) + 1 for n in first if n < size / 2), default=0)
        high = max((size - int(n) for n in last if n >= size / 2), default=0)
        pairs.append((low, high))
    return frame._replace(border=tuple(pairs))


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a != b) & ~((a != a) & (b != b))


def comparable(setup: Setup, elements: np.ndarray) -> np.ndarray:
    """The elements of an action along a line that leave something of every output to compare.

    An output that moves must keep some interior; one that must not move can only be asked to stay
    when nothing of the input is lost.
    """
    if not setup.action.line:
        return elements
    keep = np.ones(len(elements), bool)
    if any(not frame.axes for frame in setup.frames):
        keep &= _lossless(setup, elements)
    for frame, shape in zip(setup.frames, setup.program.shapes, strict=True):
        for i, axis in enumerate(frame.axes):
            low, high = frame.border[i] if frame.border else (0, 0)
            room = shape.shape[axis] - low - high
            keep &= np.abs(elements[:, i]) * float(frame.ratio[i]) < room
    if not (keep & np.any(elements != 0, axis=1)).any():
        outputs = ", ".join(
            f"{tuple(s.shape)} with border {f.border}"
            for f, s in zip(setup.frames, setup.program.shapes, strict=True)
        )
        raise ValueError(
            f"{setup.spec.where}: not testable, no output lies clear of the border at any shift; "
            f"expected an interior to compare. Got f(x) of shape {outputs}. Use a larger x, "
            f'or circular padding and action="circular".'
        )
    return elements[keep]


def _lossless(setup: Setup, elements: np.ndarray) -> np.ndarray:
    """Which elements push no number but zeros over the edge; all, when the action crops."""
    keep = np.ones(len(elements), bool)
    for leaf, based, axes in zip(setup.program.leaves, setup.based, setup.in_axes, strict=True):
        if axes and leaf.shape == based.shape:
            for i, axis in enumerate(axes):
                others = tuple(a for a in range(leaf.ndim) if a != axis)
                filled = np.flatnonzero(np.any(np.asarray(leaf) != 0, axis=others))
                if len(filled):
                    t, n = elements[:, i], leaf.shape[axis]
                    keep &= (filled[0] + t >= 0) & (filled[-1] + t <= n - 1)
    return keep


def whole_rows(setup: Setup, elements: np.ndarray) -> np.ndarray:
    """Which elements displace every moved output by whole pixels."""
    whole = np.ones(len(elements), bool)
    if not setup.action.displaces:
        return whole
    for frame in setup.frames:
        for i, ratio in enumerate(frame.ratio):
            pixels = elements[:, i] * ratio.numerator / ratio.denominator
            whole &= (pixels == np.round(pixels)) & (elements[:, i] == np.round(elements[:, i]))
    return whole


def law_of(
    setup: Setup, frame: Frame, y: jax.Array, element: jax.Array, *, whole: bool
) -> tuple[jax.Array, jax.Array]:
    """What the law makes of an output leaf, and where that is known."""
    if setup.spec.law == "invariant" or (setup.action.needs_axes and not frame.axes):
        return y, jnp.ones([1] * y.ndim, bool)
    return setup.action.law(y, element, frame, whole)


def moved_inputs(setup: Setup, leaves: list[jax.Array], element: jax.Array) -> list[jax.Array]:
    """The transformed input leaves."""
    return [
        setup.action.move(leaf, element, axes) if axes else leaf
        for leaf, axes in zip(leaves, setup.in_axes, strict=True)
    ]


def displacement(setup: Setup, frame: Frame, element: jax.Array) -> jax.Array:
    """How far an output leaf moves, in its own pixels."""
    if not setup.action.displaces or not frame.axes:
        return jnp.zeros(max(len(frame.axes), 1), element.dtype)
    return jnp.stack([element[i] * float(r) for i, r in enumerate(frame.ratio)])


def sweep(setup: Setup, y: list[jax.Array], elements: np.ndarray) -> list[_errors.Difference]:
    """Per output leaf a `Difference` of arrays over elements."""

    def one(constants, leaves, y, element, *, whole):
        found = []
        actual = setup.program.run(constants, moved_inputs(setup, leaves, element))
        for frame, leaf, out in zip(setup.frames, y, actual, strict=True):
            expected, known = law_of(setup, frame, leaf, element, whole=whole)
            clean = _errors.inside(leaf.shape, frame, displacement(setup, frame, element))
            known = known & clean if setup.action.line and frame.axes else known
            scale = _errors.scale_of(leaf, frame)
            found.append(_errors.compare(expected, out, (known, clean), scale))
        return found

    exact = whole_rows(setup, elements)
    parts, order = [], []
    for whole in (True, False):
        rows = np.flatnonzero(exact == whole)
        if len(rows):

            def run(constants, leaves, y, rows, whole=whole):
                return mapped(
                    lambda e: one(constants, leaves, y, e, whole=whole), rows, setup.chunk
                )

            leaves, chosen = setup.program.leaves, jnp.asarray(elements[rows])
            found = tuned_jit(run)(setup.program.constants, leaves, y, chosen)
            parts.append(jax.tree.map(np.asarray, found))
            order.append(rows)
    back = np.argsort(np.concatenate(order))
    return jax.tree.map(lambda *leaf: np.concatenate(leaf)[back], *parts)


def both_sides(setup: Setup, y: list[jax.Array], element: np.ndarray) -> tuple[Any, Any]:
    """T'_g f(x), zero where it is not known, and f(T_g x), for one element."""
    whole = bool(whole_rows(setup, element[None])[0])

    def sides(constants, leaves, y, element):
        actual = setup.program.run(constants, moved_inputs(setup, leaves, element))
        laws = [
            law_of(setup, frame, leaf, element, whole=whole)
            for frame, leaf in zip(setup.frames, y, strict=True)
        ]
        expected = [jnp.where(known, leaf, jnp.zeros_like(leaf)) for leaf, known in laws]
        return expected, actual

    expected, actual = tuned_jit(sides)(
        setup.program.constants, setup.program.leaves, y, jnp.asarray(element)
    )
    return setup.program.tree.unflatten(expected), setup.program.tree.unflatten(actual)
