"""Pictures of an audit and of a failed check: matplotlib Axes of figures that no registry holds."""

from typing import Any

import numpy as np

from jaxconv import _parse
from jaxconv._extras import need
from jaxconv.equivariance import _page_data
from jaxconv.equivariance.audit import Audit

_BAD, _ALSO, _FINE = "#b42318", "#e08a2e", "#9aa5b1"
_MOST_ROWS, _MOST_MAPS = 40, 36


def _figure(where: str, width: float, height: float) -> Any:
    figure = need(where, "matplotlib.figure", "plots").Figure
    return figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")


def plot_errors(found: Audit) -> Any:
    """Draws the error of every operation as a bar, in program order; the guilty ones in red.

    Of more than 40 operations those with the largest errors are drawn, still in order. A bar says
    so where an output is NaN or infinite: it is longer than all others.

    Args:
        found: what `audit` returned.

    Returns:
        The Axes.

    Raises:
        ModuleNotFoundError: without the extra [plots].

    Example:
        >>> import jax
        >>> from jaxconv.equivariance import audit
        >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
        >>> plot_errors(audit(lambda x: x[:, ::2], x)).get_xlabel()
        "error relative to the output's contrast (eps_2)"
    """
    operations = _worst(list(found.operations), _MOST_ROWS)
    figure = _figure("plot_errors", 8.5, 1.2 + 0.24 * len(operations))
    axes = figure.subplots()
    places = np.arange(len(operations))
    errors = np.array([np.nan_to_num(o.eps_2, posinf=np.inf) for o in operations])
    infinite = np.isinf(errors)
    longest = errors[~infinite].max(initial=0.0) or 1.0
    values = np.where(infinite, 1.3 * longest, errors)
    colors = [_BAD if o.guilty else _ALSO if o.also else _FINE for o in operations]
    axes.barh(places, values, color=colors, height=0.7)
    lines = [f"  {o.source}" if o.file else "" for o in operations]
    names = [_tail(o.path, 44) + line for o, line in zip(operations, lines, strict=True)]
    for place in places[infinite]:
        axes.text(1.28 * longest, place, "NaN or infinite", ha="right", va="center", fontsize=6)
    axes.set_yticks(places, names, fontsize=7)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("error relative to the output's contrast (eps_2)", fontsize=9)
    axes.set_title("red: breaks the law first; orange: would by itself", fontsize=9, color="#444")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    return axes


def _worst(operations: list[Any], most: int) -> list[Any]:
    """The operations with the largest errors and all guilty ones, in their order."""
    if len(operations) <= most:
        return operations
    least = sorted((np.nan_to_num(o.eps_2) for o in operations), reverse=True)[most - 1]
    return [o for o in operations if o.guilty or np.nan_to_num(o.eps_2) >= least]


def _tail(path: str, most: int) -> str:
    """The last names of a path, as many as fit; the end of the last one where none does."""
    if len(path) <= most:
        return path
    cut = path[-most + 2 :]
    return "…/" + cut.split("/", 1)[1] if "/" in cut else "…" + cut[1:]


def plot_maps(found: Audit, *, columns: int = 6) -> list[Any]:
    """Draws where the error of every operation is, as heat maps over the faded input.

    Of more than 36 operations those with the largest errors are drawn, still in order.

    Args:
        found: what `audit` returned, for inputs with two moved axes.
        columns: maps in a row.

    Returns:
        One Axes per operation that is wrong somewhere and has a map.

    Raises:
        ModuleNotFoundError: without the extra [plots].
        ValueError: for fewer columns than 1.

    Example:
        >>> import jax
        >>> from jaxconv.equivariance import audit
        >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
        >>> len(plot_maps(audit(lambda x: jax.numpy.tanh(x * x[:, :1]), x)))
        1
    """
    _parse.integer("plot_maps", "columns", columns)
    shown = _worst([o for o in found.operations if o.heat_map is not None], _MOST_MAPS)
    rows = max(-(-len(shown) // columns), 1)
    figure = _figure("plot_maps", 2.1 * columns, 2.5 * rows)
    grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    photo = _page_data.image(found.x)
    for axes in grid:
        axes.set_axis_off()
    for axes, operation in zip(grid, shown, strict=False):
        height, width = operation.error_map.shape
        extent = (0, width, height, 0)
        if photo is not None:
            axes.imshow(photo.mean(-1), cmap="gray", extent=extent, vmin=-150, vmax=255)
        axes.imshow(operation.error_map, cmap="OrRd", extent=extent, vmin=0, vmax=1, alpha=0.75)
        color = _BAD if operation.guilty else "#333333"
        axes.set_title(
            f"{_tail(operation.path, 30)}\n{operation.eps_2:.1e}", fontsize=7, color=color
        )
    return list(grid[: len(shown)])


def plot_prediction_grid(grid: np.ndarray) -> Any:
    """Draws the prediction at every circular shift of an image, one color per class.

    Args:
        grid: what `prediction_grid` returned.

    Returns:
        The Axes.

    Raises:
        ModuleNotFoundError: without the extra [plots].
        ValueError: for what is no grid.

    Example:
        >>> plot_prediction_grid(np.zeros((4, 6), int)).get_title(loc="left")
        'the first prediction, class 0, holds at 24 of 24 shifts'
    """
    grid = np.asarray(grid)
    if grid.ndim != 2 or not grid.size:
        raise ValueError(
            f"plot_prediction_grid: grid is no map of predictions; expected (height, width). "
            f"Got shape {grid.shape}. Use what prediction_grid returns."
        )
    classes, index = np.unique(grid, return_inverse=True)
    figure = _figure("plot_prediction_grid", 5.2, 4.4)
    axes = figure.subplots()
    colors = need("plot_prediction_grid", "matplotlib.colors", "plots")
    cmap = need("plot_prediction_grid", "matplotlib", "plots").colormaps["tab20"]
    palette = colors.ListedColormap([cmap(i % 20) for i in range(len(classes))])
    axes.imshow(index.reshape(grid.shape), cmap=palette, vmin=-0.5, vmax=len(classes) - 0.5)
    for place, name in enumerate(classes[:12]):
        axes.plot([], [], "s", color=palette(place), label=f"class {name}")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    same = int((grid == grid[0, 0]).sum())
    axes.set_title(
        f"the first prediction, class {grid[0, 0]}, holds at {same} of {grid.size} shifts",
        loc="left",
        fontsize=9,
    )
    axes.set_xlabel("shift along axis 2, pixels", fontsize=8)
    axes.set_ylabel("shift along axis 1, pixels", fontsize=8)
    return axes


def plot_failure(error: Any, message: str) -> Any:
    """Draws both sides of a check at its worst element, and their difference.

    Args:
        error: what `shift_error` returned.
        message: what to write under the pictures.

    Returns:
        The figure.

    Raises:
        ModuleNotFoundError: without the extra [plots].

    Example:
        >>> import jax
        >>> from jaxconv.equivariance import shift_error
        >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
        >>> len(plot_failure(shift_error(lambda x: x[:, ::2], x), "").axes)
        3
    """
    import jax

    leaf = error.worst_leaf
    sides = [jax.tree.leaves(side) for side in error.sides(leaf.worst)]
    place = [other.path for other in error.leaves].index(leaf.path)
    expected, actual = (np.asarray(side[place]).astype(np.float64) for side in sides)
    pictures = [_flat(a) for a in (expected, actual, np.abs(expected - actual))]
    figure = _figure("plot_failure", 10, 4.2)
    limit = max(np.nanmax(np.abs(pictures[0])), np.nanmax(np.abs(pictures[1])), 1e-30)
    titles = ("T f(x): what it should be", "f(T x): what it is", "difference")
    for axes, picture, title in zip(figure.subplots(1, 3), pictures, titles, strict=True):
        low = 0 if title == "difference" else -limit
        cmap = "OrRd" if title == "difference" else "RdBu_r"
        axes.imshow(picture, cmap=cmap, vmin=low, vmax=limit, aspect="auto")
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.yaxis.get_major_locator().set_params(integer=True)
    words, lines, line = message.split(), [], ""
    for word in words:
        line = f"{line} {word}".strip()
        if len(line) > 120:
            lines, line = [*lines, line], ""
    figure.supxlabel("\n".join([*lines, line]), fontsize=8, x=0.01, ha="left")
    return figure


def _flat(y: np.ndarray) -> np.ndarray:
    """One picture of an array: the sample and channel with the largest value of a map."""
    y = np.where(np.isfinite(y), y, np.nan)
    if y.ndim < 2:
        return y.reshape(1, -1)
    if y.ndim == 2:
        return y
    sample = y[np.unravel_index(np.nanargmax(np.abs(y)), y.shape)[0]]
    if sample.ndim == 2:
        return sample.T
    flat = sample.reshape(-1, *sample.shape[-3:])[0]
    return flat[..., np.nanargmax(np.abs(flat).max(axis=(0, 1)))]
