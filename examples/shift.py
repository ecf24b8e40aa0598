"""What equivariance and invariance mean, on a real photo.

- A convolution commutes with shifts: shifting the photo shifts the map. With circular padding the
  two are equal everywhere, with zero padding everywhere but near the border.
- Max pooling with windows of 2 x 2 is invariant only up to its window: a shift by one pixel changes
  most of the map, a shift by two moves it by exactly one.
- A global maximum is invariant to every circular shift, and the same behind a stride is not.

    python examples/shift.py            # writes runs/shift/*.png
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

import jaxconv as jc

EDGES = jnp.asarray([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])[:, :, None, None]  # Sobel, across


def photo(size: int) -> jax.Array:
    """A real photo as (1, size, size, 1) grays in [0, 1]."""
    gray = load_sample_image("flower.jpg").mean(axis=-1, dtype=np.float32)[:420, 100:520] / 255
    return jax.image.resize(jnp.asarray(gray), (size, size), "linear")[None, :, :, None]


def shift(x: jax.Array, pixels: int) -> jax.Array:
    """Circular shift of (N, H, W, C) along the width."""
    return jnp.roll(x, pixels, axis=2)


def panel(axes, image: jax.Array, title: str, colors: str = "gray", limit: float | None = None):
    """One picture of a (1, H, W, 1) map, with its title; `limit` makes the range symmetric."""
    drawn = axes.imshow(
        image[0, :, :, 0], cmap=colors, vmin=None if limit is None else -limit, vmax=limit
    )
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    return drawn


def draw_equivariance(path: Path, x: jax.Array, pixels: int) -> dict[str, float]:
    """Convolve then shift, shift then convolve, and the difference, for two paddings."""
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    metrics = {}
    grid = figure.subplots(2, 4)
    for row, mode in zip(grid, ("circular", "zeros"), strict=True):
        conv = lambda x, mode=mode: jc.ops.conv(x, EDGES, padding_mode=mode)
        there, here = shift(conv(x), pixels), conv(shift(x, pixels))
        error = jnp.abs(there - here)
        metrics[f"conv_{mode}"] = float(error.max())
        metrics[f"conv_{mode}_interior"] = float(error[:, 1:-1, pixels + 1 : -1].max())
        limit = float(jnp.abs(there).max())
        panel(row[0], shift(x, pixels), f"photo, shifted by {pixels} pixels")
        panel(row[1], there, f"convolve ({mode}), then shift", "RdBu", limit)
        panel(row[2], here, f"shift, then convolve ({mode})", "RdBu", limit)
        drawn = panel(row[3], error, f"difference, at most {error.max():.1e}", "magma")
        drawn.set_clim(0, max(float(error.max()), 1e-6))
        figure.colorbar(drawn, ax=row[3], shrink=0.8)
    figure.suptitle("A convolution commutes with shifts: exactly on a circle, else off the border")
    figure.savefig(path, dpi=120)
    return metrics


def draw_pooling(path: Path, x: jax.Array) -> dict[str, float]:
    """How far max pooling is from commuting with shifts by 0 to 8 pixels."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.4))
    pooled = jc.ops.max_pool(x, 2)
    moved = jc.ops.max_pool(shift(x, 1), 2)
    panel(left, pooled, "max pooling, 2 x 2")
    changed = jnp.abs(moved - pooled)
    drawn = panel(middle, changed, "change when the photo\nshifts by one pixel", "magma")
    figure.colorbar(drawn, ax=middle, shrink=0.8)
    errors = {}
    for window, marker in ((2, "o"), (4, "s")):
        base = jc.ops.max_pool(x, window)
        errors[window] = [
            float(jnp.abs(jc.ops.max_pool(shift(x, t), window) - shift(base, t // window)).max())
            for t in range(9)
        ]
        label = f"windows of {window} x {window}"
        right.plot(range(9), errors[window], marker=marker, label=label)
    right.set_xlabel("shift of the photo (pixels)")
    right.set_ylabel("largest error of the map (gray levels, 0 to 1)")
    right.set_title("exact only at multiples of the window", fontsize=10)
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False)
    figure.savefig(path, dpi=120)
    return {f"max_pool_{w}_shift_{t}": errors[w][t] for w in errors for t in range(9)}


def draw_invariance(path: Path, x: jax.Array) -> dict[str, float]:
    """A global maximum of a feature map under every shift, without and with a stride before it."""
    pixels = range(17)
    peak = {
        stride: [
            float(jc.ops.conv(shift(x, t), EDGES, stride=stride, padding_mode="circular").max())
            for t in pixels
        ]
        for stride in (1, 4)
    }
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(pixels, peak[1], marker="o", label="convolution, stride 1: invariant")
    axes.plot(pixels, peak[4], marker="s", label="convolution, stride 4: repeats every 4 pixels")
    axes.set_xlabel("shift of the photo (pixels)")
    axes.set_ylabel("global maximum of the map")
    axes.set_title("Global pooling is invariant; a stride before it undoes that", fontsize=10)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False)
    figure.savefig(path, dpi=120)
    return {f"invariance_stride_{s}": max(peak[s]) - min(peak[s]) for s in peak}


def main(size: int = 128, out: str | Path = "runs/shift") -> dict[str, float]:
    """Draws the three pictures into `out` and returns the numbers behind them."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    x = photo(size)
    metrics = draw_equivariance(folder / "convolution_commutes.png", x, size // 8)
    metrics |= draw_pooling(folder / "max_pooling_up_to_its_window.png", x)
    metrics |= draw_invariance(folder / "global_pooling.png", x)
    print("Largest difference between 'shift, then f' and 'f, then shift' on a photo in [0, 1]:")
    print(f"  convolution, circular padding     {metrics['conv_circular']:.1e}")
    print(f"  convolution, zero padding         {metrics['conv_zeros']:.1e}")
    print(f"  the same, away from the border    {metrics['conv_zeros_interior']:.1e}")
    print(f"  max pooling 2 x 2, shift by one   {metrics['max_pool_2_shift_1']:.1e}")
    print(f"  max pooling 2 x 2, shift by two   {metrics['max_pool_2_shift_2']:.1e}")
    print("How far the global maximum moves over 16 shifts:")
    print(f"  after a convolution, stride 1     {metrics['invariance_stride_1']:.1e}")
    print(f"  after a convolution, stride 4     {metrics['invariance_stride_4']:.1e}")
    print(f"Pictures: {folder}")
    return metrics


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="pixels per side (default 128)")
    parser.add_argument("--out", default="runs/shift", help="folder for the pictures")
    arguments = parser.parse_args()
    main(arguments.size, arguments.out)
