"""Measures how far a function is from obeying an action: f(T_g x) against T'_g f(x)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxconv import _parse
from jaxconv.equivariance import _frame, _run
from jaxconv.equivariance.actions import Action, Frame, Shifts, circular_shift, zero_shift

KINDS = ("circular", "interior")


class LeafError(NamedTuple):
    """Errors of one output leaf, one entry per element of the action.

    Attributes:
        path: key path of the leaf, "" for a lone array.
        frame: the law that was checked: moved axes, ratio and border; no axes for invariance.
        shape: of the leaf.
        eps_inf: max |T y - f(T x)| / max |y|.
        eps_2: the same in the 2-norm, against y less its mean over the moved axes (over the last
            axis of a leaf that must not move), so that a large constant hides nothing.
        border: eps_inf over outputs that see beyond the input's edge; NaN where unknown.
        interior: eps_inf over the others; NaN where the border is unknown.
        place: index of the largest error.
        noise: noise floor: eps_inf when every input number is off by one rounding, times the
            root of the number of contractions.
        tolerance: what rounding can explain: from the dtype, raised to the noise floor.
    """

    path: str
    frame: Frame
    shape: tuple[int, ...]
    eps_inf: np.ndarray
    eps_2: np.ndarray
    border: np.ndarray
    interior: np.ndarray
    place: list[tuple[int, ...]]
    noise: float
    tolerance: float

    @property
    def worst(self) -> int:
        """Row of the element with the largest eps_inf; the first one, of equals but for rounding.

        Shifts that mirror each other often have one error in real numbers, and which of them is
        larger in floating point may differ from run to run.
        """
        return int(np.argmax(self.eps_inf >= self.eps_inf.max() * (1 - 1e-4)))

    @property
    def law(self) -> str:
        """The law in a word."""
        return "equivariant" if self.frame.axes else "invariant"


class ShiftError(NamedTuple):
    """What `shift_error` measured.

    Attributes:
        action: name of the action.
        elements: its elements, one row each.
        leaves: errors per output leaf.
        sides: row of an element -> (T'_g f(x), f(T_g x)), pytrees like f(x), zero where the law
            does not say what to expect.
        images: size of the first axis of x.
    """

    action: str
    elements: np.ndarray
    leaves: tuple[LeafError, ...]
    sides: Callable[[int], tuple[Any, Any]]
    images: int

    @property
    def worst_leaf(self) -> LeafError:
        """The leaf that exceeds its tolerance the most."""
        return max(self.leaves, key=lambda leaf: leaf.eps_inf.max() / leaf.tolerance)

    @property
    def worst(self) -> float:
        """The largest eps_inf of all leaves and elements."""
        return max(float(leaf.eps_inf.max()) for leaf in self.leaves)

    @property
    def obeys(self) -> np.ndarray:
        """Which elements every leaf obeys within its tolerance."""
        return np.all([leaf.eps_inf <= leaf.tolerance for leaf in self.leaves], axis=0)

    def __str__(self) -> str:
        """A table, a row per leaf, under the verdict."""
        count = len(self.elements)
        head = (
            f"{int(self.obeys.sum())} of {count} elements of the {self.action} obeyed, "
            f"{self.images} images, worst eps_inf {self.worst:.2e}"
        )
        rows = [
            f"{leaf.path or 'output':<16} {leaf.law:<12} worst {leaf.eps_inf.max():.2e} "
            f"(eps_2 {leaf.eps_2.max():.2e}) mean {leaf.eps_inf.mean():.2e} "
            f"border {leaf.border.max():.1e} interior {leaf.interior.max():.1e} "
            f"noise {leaf.noise:.1e} tolerance {leaf.tolerance:.1e}"
            for leaf in self.leaves
        ]
        return "\n".join([head, *rows])


def resolve(where: str, action: Action | str, shifts: Shifts, options: dict[str, Any]) -> Action:
    """An action by value, or by the name of a kind of shift."""
    if isinstance(action, Action):
        return action
    _parse.choice(where, "action", action, KINDS)
    make = circular_shift if action == "circular" else zero_shift
    return make(shifts, **options)


def shift_error(
    f: Callable[[Any], Any],
    x: Any,
    action: Action | str = "circular",
    *,
    shifts: Shifts = "all",
    period: int | Sequence[int] | None = None,
    lattice: int | Sequence[int] = 1,
    law: str = "auto",
    axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
    stride: Any = None,
    border: Any = None,
    chunk: int | None = None,
    seed: int = 0,
    where: str = "shift_error",
) -> ShiftError:
    """Compares f of the moved input with the moved output, for many shifts at once.

        eps_inf(t) = max |T'_t f(x) - f(T_t x)| / max |f(x)|
        eps_2(t) = ||T'_t f(x) - f(T_t x)|| / ||f(x) - mean f(x)||

    The shifts run through vmap in chunks, in one compiled program, with convolutions and matmuls
    at the highest precision of the platform.

    Args:
        f: any function of x to arrays; it may close over parameters of any framework.
        x: (N, *spatial, C), or a pytree of such inputs, which then move together. Leaves
            without spatial axes stay.
        action: "circular" (rolls), "interior" (zero-filled shifts, compared where no output
            sees the edge), or an `Action`.
        shifts: "all", how many to draw, or rows of them; for an action given by name.
        period: shifts run from 0 to below this; the size of the axis unless given.
        lattice: only multiples of this.
        law: "equivariant": every output leaf moves by shift / stride; "invariant": none moves;
            "auto": those move that have the moved axes and one more after them.
        axes: moved axes of every input leaf; all between the first and the last unless given.
        output_axes: moved axes of the outputs, if they are others.
        stride: input pixels per output pixel; the ratio of sizes unless given.
        border: outputs at the ends of the moved axes (a number, or pairs) that see beyond the
            input's edge; measured unless given, by changing the first and last pixels.
        chunk: shifts evaluated at once; bounds memory.
        seed: of drawn shifts and of the noise.
        where: what messages call this check.

    Returns:
        A `ShiftError`; printed, it is a table.

    Raises:
        ValueError: when nothing can move, or no output lies clear of the border ("not testable").

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
        >>> bool(shift_error(jnp.tanh, x).worst < 1e-6)
        True
        >>> bool(shift_error(lambda x: x[:, ::2, ::2], x).worst > 0.1)
        True

    References:
        Zhang 2019, arXiv:1904.11486, equation 1 (equivariance and invariance to shifts).
    """
    options = {"period": period, "lattice": lattice, "seed": seed}
    action = resolve(where, action, shifts, options)
    spec = _frame.Spec(
        where,
        None if axes is None else tuple(axes),
        _parse.choice(where, "law", law, _frame.LAWS),
        None if output_axes is None else tuple(output_axes),
        stride,
        border,
    )
    setup = _run.prepare(f, x, action, spec, chunk)
    y, noise, setup = _run.probe(setup, seed)
    elements = _run.comparable(setup, action.elements(setup.sizes))
    found = _run.sweep(setup, y, elements)
    leaves = tuple(_leaf_error(setup, i, found[i], noise[i]) for i in range(len(found)))
    images = setup.based[0].shape[0] if setup.based[0].ndim else 1

    def sides(row: int) -> tuple[Any, Any]:
        return _run.both_sides(setup, y, elements[row])

    return ShiftError(action.name, elements, leaves, sides, images)


def _leaf_error(setup: _run.Setup, i: int, found: Any, noise: float) -> LeafError:
    program, frame = setup.program, setup.frames[i]
    shape = program.shapes[i].shape
    unknown = bool(frame.axes) and frame.border is None
    place = [tuple(int(n) for n in np.unravel_index(flat, shape)) for flat in found.place]
    return LeafError(
        program.paths[i],
        frame,
        tuple(shape),
        found.eps_inf,
        found.eps_2,
        np.full_like(found.border, np.nan) if unknown else found.border,
        np.full_like(found.interior, np.nan) if unknown else found.interior,
        place,
        noise,
        tolerance_of(program.shapes[i].dtype, setup.in_dtype, noise),
    )


TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2, "bfloat16": 2e-2}
"""eps_inf that rounding explains in a network of some twenty layers, by dtype."""


def tolerance_of(dtype: Any, in_dtype: Any, noise: float) -> float:
    """The larger of the dtype's tolerance and 8 noise floors, never above 100 times the former.

    The cap keeps a function that is unstable at this input (a tie, say) from passing by its noise.
    8 is a heuristic: the floor is one draw, and the two sides round differently. The coarser of
    the input's and the output's dtype counts.
    """
    known = [TOLERANCE[name] for name in (str(dtype), str(in_dtype)) if name in TOLERANCE]
    base = max(known, default=0.0)
    return float(min(max(base, 8 * noise), 100 * base, max(base, 0.1)))
