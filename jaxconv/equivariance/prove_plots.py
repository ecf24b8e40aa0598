"""Picture of a proof: a matplotlib figure that no registry holds."""

import textwrap
from typing import Any

import numpy as np

from jaxconv._extras import need
from jaxconv.equivariance._fold import HEAVY

_STRIDE, _BORDER, _FINE = "#b42318", "#e08a2e", "#9aa5b1"
_MOST_ROWS = 40


def plot_proof(proof: Any, *, axis: int = 0) -> Any:
    """Draws what every call leaves of the shifts, and of the rows, along one axis.

    Left, the finest shift that holds with circular borders; right, the share of rows that borders
    spoil. Red calls are charged for the former, orange ones for the latter.

    Args:
        proof: what `prove` returned.
        axis: shifted axis of the input, counted in the order of the proof's `axes`.

    Returns:
        The figure.

    Raises:
        ModuleNotFoundError: without the extra [plots].

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxconv.equivariance import prove
        >>> x = jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)
        >>> len(plot_proof(prove(lambda x: x[:, ::2], x)).axes)
        2
    """
    size = proof.program.sizes[axis]
    rows = [row for row in proof.rows if row.changed or row.operation in HEAVY] or proof.rows
    charged = {(limit.order, limit.level) for o in proof.outputs for limit in o.limits}
    levels = [{level for order, level in charged if order in row.orders} for row in rows]
    if len(rows) > _MOST_ROWS:
        kept = [number for number, level in enumerate(levels) if level][:_MOST_ROWS]
        rows, levels = [rows[n] for n in kept], [levels[n] for n in kept]
    figure = need("plot_proof", "matplotlib.figure", "plots").Figure(
        figsize=(10, 1.6 + 0.26 * len(rows)), dpi=120, layout="constrained", facecolor="white"
    )
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(rows))
    colors = [_STRIDE if "stride" in found else _FINE for found in levels]
    lattices = [_lattice(row, axis, size) for row in rows]
    left.barh(places, lattices, color=colors, height=0.7)
    left.set_xscale("log", base=2)
    left.set_xlim(0.5, 2 * size)
    ticks = [2**n for n in range(size.bit_length())]
    left.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=8)
    left.set_ylim(len(rows) - 0.4, -0.6)
    left.set_xlabel("finest shift that holds, pixels (circular borders)", fontsize=9)
    left.set_yticks(places, [row.name for row in rows], fontsize=7)
    colors = [_BORDER if "border" in found else _FINE for found in levels]
    right.barh(places, [100 * _spoiled(row, axis) for row in rows], color=colors, height=0.7)
    right.set_xlim(0, 105)
    right.set_xlabel("rows that borders spoil, %", fontsize=9)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
    figure.suptitle(textwrap.fill(proof.theorem, 120), x=0.01, ha="left", fontsize=9)
    return figure


def _lattice(row: Any, axis: int, size: int) -> int:
    law = (row.circular or row.laws)[axis]
    return abs(law.shift) if law.exact or law.kind == "interior" else size


def _spoiled(row: Any, axis: int) -> float:
    """Share of the rows outside of what is proved; none where strides leave nothing anyway."""
    law = row.laws[axis]
    if law.kind == "interior":
        return min(sum(law.halo) / max(row.extents[axis], 1), 1.0)
    lost = not law.exact and bool(row.circular) and row.circular[axis].exact
    return 1.0 if lost else 0.0
