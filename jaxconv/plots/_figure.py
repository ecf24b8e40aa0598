"""Figures without pyplot, and the few decisions of style that all pictures share."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxconv._extras import need

INK = "#1f2933"
FAINT = "#9aa5b1"
BLUE = "#2166ac"
ORANGE = "#d6604d"
DPI = 150


def new_figure(where: str, width: float, height: float) -> Any:
    """A figure in inches that no global registry holds; it draws to files without a display."""
    figure = need(where, "matplotlib.figure", "plots").Figure
    return figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def tidy(axes: Any, title: str, *, x: str = "", y: str = "") -> Any:
    """Titles, units, a light grid, and no frame where nothing is read off it."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(color=FAINT, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def bare(axes: Any, title: str = "", *, color: str = INK, size: float = 8) -> Any:
    """For images: no ticks, no grid, a thin frame, a title."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.6)
    if title:
        axes.set_title(title, fontsize=size, color=color, pad=3)
    return axes


def show(axes: Any, image: Any) -> Any:
    """Draws one image (H, W, 1 or 3), gray or in color, bytes or floats of any range."""
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if image.ndim == 2:
        return axes.imshow(image, cmap="gray", interpolation="nearest")
    if image.dtype != np.uint8:
        image = stretched(image)
    return axes.imshow(image, interpolation="nearest")


def stretched(array: np.ndarray) -> np.ndarray:
    """The same on the scale 0..1."""
    array = np.asarray(array, np.float64)
    low, high = array.min(), array.max()
    return (array - low) / max(high - low, 1e-12)


def colorbar(figure: Any, drawn: Any, axes: Any, label: str) -> Any:
    """A thin bar with its unit."""
    bar = figure.colorbar(drawn, ax=axes, shrink=0.85, pad=0.02, aspect=30)
    bar.set_label(label, fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, colors=INK)
    bar.outline.set_visible(False)
    return bar


def grid(figure: Any, count: int, *, columns: int, first: int = 0) -> np.ndarray:
    """`count` axes in rows of `columns`; those that are left over in the last row are hidden."""
    columns = min(columns, max(count, 1))
    rows = -(-max(count, 1) // columns)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for empty in axes[count:]:
        empty.set_visible(False)
    return axes[first:count]


def class_names(classes: Sequence[str] | int) -> list[str]:
    """Names of the classes, from names or from how many there are."""
    return [str(name) for name in (range(classes) if isinstance(classes, int) else classes)]


def percent(share: float, digits: int = 0) -> str:
    """A share as a percentage, with the space that units have."""
    return f"{100 * share:.{digits}f} %"


def check_images(where: str, images: np.ndarray) -> np.ndarray:
    """Refuses what is no batch of gray or color images."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        raise ValueError(
            f"{where}: images cannot be drawn; expected (N, H, W, 1) or (N, H, W, 3), N at least "
            f"1. Got images of shape {images.shape}. Use images[None] for one image."
        )
    return images
