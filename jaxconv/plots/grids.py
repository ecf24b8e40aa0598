"""Many small images: learned filters, feature maps, and the mistakes that hurt most."""

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
    grid,
    new_figure,
    percent,
    show,
    stretched,
)


def filters(kernel: Any, *, most: int = 64) -> Any:
    """Draws the filters of a convolution, each as a small image.

    Filters over three channels are drawn in color, each stretched to its own range; others as
    their mean over the input channels, all on one scale, blue below zero and red above.

    Args:
        kernel: (height, width, C, features).
        most: filters to draw, the first ones.

    Returns:
        An array of Axes, one a filter.

    Raises:
        ModuleNotFoundError: without the extra [plots].
        ValueError: for a kernel that is not of two spatial axes.

    Example:
        >>> len(filters(np.ones((3, 3, 1, 8))))
        8
    """
    kernel = np.asarray(kernel, np.float64)
    if kernel.ndim != 4:
        raise ValueError(
            f"filters: the kernel has {kernel.ndim} axes; expected (height, width, C, features). "
            f"Got kernel of shape {kernel.shape}. Pass the kernel of a 2-D convolution."
        )
    channels, features = kernel.shape[2:]
    count = min(features, most)
    columns = min(count, 8 if count <= 32 else 16)
    rows = -(-count // columns)
    figure = new_figure("filters", 0.85 * columns + 1.2, 0.85 * rows + 0.9)
    axes = grid(figure, count, columns=columns)
    limit = np.abs(kernel.mean(axis=2)).max() or 1.0
    drawn = None
    for feature, place in enumerate(axes):
        bare(place)
        weights = kernel[..., feature]
        if channels == 3:
            place.imshow(stretched(weights), interpolation="nearest")
        else:
            style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
            drawn = place.imshow(weights.mean(axis=2), interpolation="nearest", **style)
    size = f"{kernel.shape[0]} x {kernel.shape[1]} x {channels}"
    shown = f"{count} of {features}" if count < features else f"{count}"
    figure.suptitle(f"{shown} learned filters of {size} taps", fontsize=10, color=INK)
    if drawn is not None:
        mean = "" if channels == 1 else f", mean over {channels} channels"
        colorbar(figure, drawn, list(axes), f"weight{mean}")
    return axes


def feature_maps(image: Any, maps: Any, *, most: int = 32, title: str = "Feature maps") -> Any:
    """Draws an image and what each channel of a layer makes of it, all on one scale.

    Args:
        image: (H, W, 1 or 3).
        maps: (H', W', channels).
        most: channels to draw, the first ones.
        title: what the layer is.

    Returns:
        An array of Axes: the image, then the maps.

    Raises:
        ModuleNotFoundError: without the extra [plots].

    Example:
        >>> len(feature_maps(np.ones((8, 8, 1)), np.ones((4, 4, 6))))
        7
    """
    image = check_images("feature_maps", np.asarray(image)[None])[0]
    maps = np.asarray(maps, np.float64)
    count = min(maps.shape[-1], most)
    columns = min(count + 1, 9 if count <= 40 else 13)
    rows = -(-(count + 1) // columns)
    figure = new_figure("feature_maps", 0.95 * columns + 1.0, 1.05 * rows + 0.6)
    axes = grid(figure, count + 1, columns=columns)
    show(axes[0], image)
    bare(axes[0], "input", color=BLUE)
    low, high = maps[..., :count].min(), maps[..., :count].max()
    drawn = None
    for channel, place in enumerate(axes[1:]):
        drawn = place.imshow(maps[..., channel], cmap="magma", vmin=low, vmax=high)
        bare(place, f"{channel}", size=7)
    shown = f", {count} of {maps.shape[-1]} channels" if count < maps.shape[-1] else ""
    figure.suptitle(f"{title}{shown}", fontsize=10, color=INK)
    colorbar(figure, drawn, list(axes), "activation")
    return axes


def mistakes(
    images: Any, labels: Any, probabilities: Any, classes: Sequence[str] | int, *, most: int = 24
) -> Any:
    """Draws the worst mistakes: where a wrong class was given the most probability.

    Where there are fewer mistakes than places, the least certain right predictions follow, in
    blue, so that the picture says what the classifier finds hard.

    Args:
        images: (N, H, W, 1 or 3).
        labels: integers (N,).
        probabilities: (N, classes).
        classes: their names, or how many there are.
        most: images to draw.

    Returns:
        An array of Axes, worst first.

    Raises:
        ModuleNotFoundError: without the extra [plots].
        ValueError: for images that cannot be drawn.

    Example:
        >>> axes = mistakes(np.ones((2, 8, 8, 1)), [0, 1], [[0.1, 0.9], [0.2, 0.8]], 2)
        >>> axes[0].get_title().splitlines()
        ['0 taken for 1', '90 %']
    """
    images = check_images("mistakes", images)
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    names = class_names(classes)
    predictions = probabilities.argmax(axis=-1)
    wrong = predictions != labels
    true = np.take_along_axis(probabilities, labels[:, None], axis=-1)[:, 0]
    # wrong ones by the probability of the wrong class, falling; then right ones, rising
    worst = np.lexsort((np.where(wrong, -probabilities.max(axis=-1), true), ~wrong))[:most]
    columns = min(len(worst), 8)
    rows = -(-len(worst) // columns)
    long = max(map(len, names)) > 3
    width = max(1.25, 0.07 * (10 + max(map(len, names))))  # wide enough for "taken for ..."
    figure = new_figure("mistakes", width * columns + 0.4, 1.75 * rows + 0.6)
    axes = grid(figure, len(worst), columns=columns)
    for number, place in zip(worst, axes, strict=True):
        show(place, images[number])
        truth, guess = names[labels[number]], names[predictions[number]]
        link = "\ntaken for " if long else " taken for "
        words = truth + link + guess if wrong[number] else f"{truth}, right"
        share = percent(probabilities[number].max())
        bare(place, f"{words}\n{share}", color=ORANGE if wrong[number] else BLUE)
    count = f"{wrong.sum():,} of {len(labels):,} images are taken for another class"
    title = f"Worst mistakes: {count} (below: the probability of the prediction)"
    figure.suptitle(title, fontsize=10, color=INK)
    return axes
