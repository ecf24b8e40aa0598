"""What a classifier says when the image moves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxconv.plots._figure import (
    BLUE,
    INK,
    ORANGE,
    bare,
    check_images,
    class_names,
    colorbar,
    new_figure,
    percent,
    show,
    tidy,
)

MOST_WRITTEN = 144  # shifts up to which the numbers are written into the cells


def prediction_under_shifts(
    image: Any, probabilities: Any, label: int, classes: Sequence[str] | int
) -> Any:
    """Draws an image, p(true class) at every circular shift of it, and its worst shift.

    Where the prediction is another class than the true one stands a cross; on a large map, a white
    line runs round it instead.

    Args:
        image: (H, W, 1 or 3).
        probabilities: (H, W, classes): at [i, j] for a shift by i rows and j columns.
        label: the true class.
        classes: their names, or how many there are.

    Returns:
        Three Axes of one figure: the image, the map, the image at its worst shift.

    Raises:
        ModuleNotFoundError: without the extra [plots].
        ValueError: when the map is not one entry a pixel.

    Example:
        >>> probabilities = np.full((4, 6, 2), 0.5)
        >>> axes = prediction_under_shifts(np.ones((4, 6, 1)), probabilities, 0, 2)
        >>> axes[1].get_title(loc="left")
        'p("0") at each of 24 shifts: right at 24'
    """
    image = check_images("prediction_under_shifts", np.asarray(image)[None])[0]
    probabilities = _check_map("prediction_under_shifts", probabilities, image)
    names = class_names(classes)
    true = probabilities[..., label]
    right = probabilities.argmax(axis=-1) == label
    worst = np.unravel_index(true.argmin(), true.shape)
    guess = int(probabilities[worst].argmax())

    figure = new_figure("prediction_under_shifts", 10.5, 3.6)
    before, heat, after = figure.subplots(1, 3, width_ratios=(1, 1.35, 1))
    show(before, image)
    first = int(probabilities[0, 0].argmax())
    _caption(before, "as it is", names[first], probabilities[0, 0, first], right=first == label)
    title = f'p("{names[label]}") at each of {true.size} shifts: right at {int(right.sum())}'
    drawn = _heat_map(heat, true, title, wrong=~right)
    colorbar(figure, drawn, heat, "probability of the true class")
    show(after, np.roll(image, worst, (0, 1)))
    place = _words(*(_signed(int(at), size) for at, size in zip(worst, true.shape, strict=True)))
    _caption(
        after,
        f"at its worst shift: {place}",
        names[guess],
        probabilities[worst][guess],
        right=guess == label,
    )
    return before, heat, after


def accuracy_under_shifts(probabilities: Any, labels: Any) -> Any:
    """Draws the accuracy at every circular shift, over many images.

    Args:
        probabilities: (H, W, N, classes), from `train.probabilities_under_shifts`.
        labels: integers (N,).

    Returns:
        The Axes.

    Raises:
        ModuleNotFoundError: without the extra [plots].

    Example:
        >>> axes = accuracy_under_shifts(np.full((4, 4, 3, 2), 0.5), [0, 0, 1])
        >>> axes.get_title(loc="left").splitlines()[0]
        'Accuracy under circular shifts, 3 images'
    """
    predictions = np.asarray(probabilities).argmax(axis=-1)
    accuracy = (predictions == np.asarray(labels)).mean(axis=-1)
    survivors = (predictions == predictions[0, 0]).all(axis=(0, 1)).mean()
    figure = new_figure("accuracy_under_shifts", 5.6, 4.8)
    axes = figure.subplots()
    title = (
        f"Accuracy under circular shifts, {predictions.shape[-1]:,} images\n"
        f"{percent(survivors, 1)} of the predictions survive every shift"
    )
    low, high = 100 * accuracy.min(), 100 * accuracy.max()
    drawn = _heat_map(axes, 100 * accuracy, title, limits=(min(low, high - 1.0), high))
    if accuracy.size <= MOST_WRITTEN:
        _write_numbers(axes, drawn, 100 * accuracy)
    colorbar(figure, drawn, axes, "accuracy, %")
    return axes


def _heat_map(
    axes: Any,
    values: Any,
    title: str,
    *,
    wrong: Any = None,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Any:
    """A map over shifts with the shift zero in the middle, in a white square."""
    rows, columns = values.shape
    middle = (rows // 2, columns // 2)
    extent = (-middle[1] - 0.5, columns - middle[1] - 0.5, rows - middle[0] - 0.5, -middle[0] - 0.5)
    style = {"cmap": "viridis", "vmin": limits[0], "vmax": limits[1], "interpolation": "nearest"}
    drawn = axes.imshow(np.roll(values, middle, (0, 1)), extent=extent, **style)
    tidy(axes, title, x="shift to the right, pixels", y="shift down, pixels")
    axes.grid(visible=False)
    xs, ys = [-0.5, 0.5, 0.5, -0.5, -0.5], [-0.5, -0.5, 0.5, 0.5, -0.5]
    axes.plot(xs, ys, color="white", linewidth=1.5)
    if wrong is not None and wrong.any():
        _mark(axes, np.roll(wrong, middle, (0, 1)), middle)
    return drawn


def _mark(axes: Any, wrong: np.ndarray, middle: tuple[int, int]) -> None:
    rows, columns = (np.arange(size) - at for size, at in zip(wrong.shape, middle, strict=True))
    if wrong.size > MOST_WRITTEN and min(wrong.shape) > 1:
        axes.contour(columns, rows, wrong.astype(float), [0.5], colors="white", linewidths=1.2)
        return
    y, x = np.nonzero(wrong)
    for color, width in (("white", 2.6), ("black", 1.2)):  # legible on every color
        style = {"color": color, "markersize": 7, "markeredgewidth": width}
        axes.plot(columns[x], rows[y], "x", **style)


def _write_numbers(axes: Any, drawn: Any, values: Any) -> None:
    """Every value in its cell: dark on the light half of the colors that were drawn."""
    rows, columns = values.shape
    for (row, column), value in np.ndenumerate(values):
        place = _signed(column, columns), _signed(row, rows)
        color = INK if drawn.norm(value) > 0.5 else "white"
        axes.text(*place, f"{value:.1f}", ha="center", va="center", fontsize=7, color=color)


def _caption(axes: Any, place: str, guess: str, share: float, *, right: bool) -> None:
    bare(axes)
    axes.set_title(place, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(f'"{guess}", {percent(share)}', fontsize=10, color=BLUE if right else ORANGE)


def _signed(shift: int, size: int) -> int:
    """The same circular shift, by the shorter way."""
    return shift - size if shift >= size - size // 2 else shift


def _words(rows: int, columns: int) -> str:
    vertical = f"{'down' if rows > 0 else 'up'} {abs(rows)}" if rows else ""
    across = f"{'right' if columns > 0 else 'left'} {abs(columns)}" if columns else ""
    return ", ".join(word for word in (vertical, across) if word) or "none"


def _check_map(where: str, probabilities: Any, image: np.ndarray) -> np.ndarray:
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 3 or probabilities.shape[:2] != image.shape[:2]:
        raise ValueError(
            f"{where}: probabilities have no entry for every shift; expected (H, W, classes) with "
            f"(H, W) = {image.shape[:2]}. Got probabilities of shape {probabilities.shape}. "
            f"Use train.probabilities_under_shifts(predict, image[None])[:, :, 0]."
        )
    return probabilities
