"""Which classes a classifier takes for which."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxconv.plots._figure import INK, class_names, colorbar, new_figure, percent, tidy

MOST_WRITTEN = 20  # classes up to which the counts are written into the cells


def confusion(counts: Any, classes: Sequence[str] | int) -> Any:
    """Draws a confusion matrix: the share of each true class, the counts written in.

    Args:
        counts: integers (classes, classes), rows are truths: `train.metrics.confusion_matrix`.
        classes: their names, or how many there are.

    Returns:
        The Axes.

    Raises:
        ModuleNotFoundError: without the extra [plots].
        ValueError: when the matrix does not fit the classes.

    Example:
        >>> confusion([[3, 1], [0, 4]], 2).get_title(loc="left")
        'Confusion matrix: 7 of 8 right (87.50 %)'
    """
    counts = np.asarray(counts)
    names = class_names(classes)
    if counts.shape != (len(names), len(names)):
        raise ValueError(
            f"confusion: the matrix does not fit {len(names)} classes; expected "
            f"{(len(names), len(names))}. Got counts of shape {counts.shape}. "
            f"Use train.metrics.confusion_matrix(labels, predictions, {len(names)})."
        )
    side = min(4.0 + 0.32 * len(names), 12.0)
    figure = new_figure("confusion", side, 0.88 * side)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawn = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    right, total = int(np.trace(counts)), int(counts.sum())
    share = percent(right / max(total, 1), 2)
    title = f"Confusion matrix: {right:,} of {total:,} right ({share})"
    tidy(axes, title, x="predicted class", y="true class")
    axes.grid(visible=False)
    _label(axes, names)
    if len(names) <= MOST_WRITTEN:
        _write_counts(axes, counts, shares)
    colorbar(figure, drawn, axes, "share of the true class, %")
    return axes


def _label(axes: Any, names: list[str]) -> None:
    every = max(1, len(names) // 25)
    places = range(0, len(names), every)
    long = max(map(len, names)) > 3
    axes.set_xticks(
        places, names[::every], rotation=45 if long else 0, ha="right" if long else "center"
    )
    axes.set_yticks(places, names[::every])


def _write_counts(axes: Any, counts: np.ndarray, shares: np.ndarray) -> None:
    size = 9 if len(counts) <= 12 else 6
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 0.5 else INK
            weight = "normal" if row == column else "bold"
            axes.text(
                column,
                row,
                f"{count}",
                ha="center",
                va="center",
                fontsize=size,
                color=color,
                weight=weight,
            )
