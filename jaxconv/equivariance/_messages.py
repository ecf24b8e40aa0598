"""What a failed check says: the fact, the worst shift, where on the map, and what to change."""

from typing import Any

import numpy as np

from jaxconv.equivariance.measure import LeafError, ShiftError


def numbers(row: Any) -> str:
    """A shift as people write it: (1, 0), (0.5, 0.25)."""
    entries = [f"{float(v):g}" for v in row]
    return f"({', '.join(entries)})" if len(entries) > 1 else entries[0]


def lattice_of(error: ShiftError) -> tuple[int, ...] | None:
    """The smallest steps per axis whose multiples are all obeyed, or None if no shift is."""
    rows, obeys = error.elements, error.obeys
    steps = []
    for i in range(rows.shape[1]):
        others = np.delete(rows, i, axis=1)
        line = rows[(others == 0).all(axis=1) & obeys, i]
        positive = line[line > 0]
        if not len(positive):
            return None
        steps.append(int(positive.min()))
    on = np.all(rows % np.array(steps) == 0, axis=1)
    return tuple(steps) if obeys[on].all() and not on.all() else None


def border_only(leaf: LeafError) -> bool:
    """Whether every failure lies at the border."""
    return bool(leaf.interior.max() <= leaf.tolerance < leaf.border.max())


_INTENSITY = "A bias, relu and a kernel that does not sum to 1 break it: use affine layers."
_SYMMETRY = (
    "A kernel that is not symmetric breaks it: average f over the symmetries, or the kernels."
)

_ELSEWHERE = {
    **dict.fromkeys(("gain", "offset", "change of intensity"), _INTENSITY),
    **dict.fromkeys(("flip", "quarter turn"), _SYMMETRY),
    "translation": "Call lie_derivative(f, x) for what every operation contributes.",
}
"""What to change where an audit, which shifts by whole pixels, would find nothing."""


def fix(error: ShiftError, leaf: LeafError) -> str:
    """One sentence on what to change, from the pattern of the failures."""
    if not np.isfinite(leaf.eps_inf.max()):
        return "Outputs are not finite: check f(x) itself first."
    if error.action in ("circular shift", "zero-filled shift"):
        steps = lattice_of(error)
        if steps is not None:
            step = steps[0] if len(set(steps)) == 1 else steps
            return (
                f"Shifts by multiples of {step} are exact, so a stride breaks the others: pass "
                f"lattice={step} if that is what you claim, or downsample adaptively."
            )
        if leaf.frame.axes and border_only(leaf):
            return (
                f"Only outputs within {leaf.frame.border} of the edges differ, so padding breaks "
                f'it: use padding_mode="circular", or compare with action="interior".'
            )
    return _ELSEWHERE.get(error.action, "Call audit(f, x) for the error of every operation.")


def failure(where: str, error: ShiftError, guilty: str = "") -> str:
    """The whole message of a failed check."""
    leaf = error.worst_leaf
    k = leaf.worst
    name = f"f{leaf.path}" if leaf.path else "f"
    failing = int((~error.obeys).sum())
    split = ""
    if leaf.frame.axes and not np.isnan(leaf.border[k]):
        split = f", border {leaf.border[k]:.1e}, interior {leaf.interior[k]:.1e}"
    return (
        f"{where}: {name} is not {leaf.law} to the {error.action}, {failing} of "
        f"{len(error.elements)} elements fail; expected eps_inf <= {leaf.tolerance:.1e}. "
        f"Got eps_inf={leaf.eps_inf[k]:.2e} (eps_2={leaf.eps_2[k]:.2e}, noise floor "
        f"{leaf.noise:.1e}) at {numbers(error.elements[k])}, the largest at output "
        f"{leaf.place[k]}{split}. {guilty}{fix(error, leaf)}"
    )
