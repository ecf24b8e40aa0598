"""The page of `shift_equivariance_denoising.py`: a table and two pictures."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import _page

Function = Callable[[jax.Array], jax.Array]
COLUMNS = {
    "psnr": ("PSNR", "{:.2f}"),
    "psnr_dark": ("at ¼ exposure", "{:.2f}"),
    "psnr_offset": ("at + 2", "{:.2f}"),
    "circular_mean": ("circular, mean", "{:.1e}"),
    "circular_worst": ("circular, worst", "{:.1e}"),
    "crop_mean": ("crop, mean", "{:.1e}"),
    "crop_worst": ("crop, worst", "{:.1e}"),
    "crop_inside": ("crop, inside", "{:.1e}"),
    "translation_worst": ("½ pixel, worst", "{:.1e}"),
    "exposure_worst": ("a·x + b, worst", "{:.1e}"),
    "parameters": ("parameters", "{:,.0f}"),
    "step_ms": ("ms a step", "{:.0f}"),
}


def table(results: dict[str, dict[str, float]]) -> str:
    """The results as a table in Markdown."""
    head = ["network", *(title for title, _ in COLUMNS.values())]
    rows = [
        [name, *(form.format(row[key]) if key in row else "" for key, (_, form) in COLUMNS.items())]
        for name, row in results.items()
    ]
    return _page.table(head, rows)


def draw(functions: dict[str, Function], clean: jax.Array, noisy: jax.Array, out: Path) -> None:
    """What each network makes of the first patch, and what changes when it shifts by a pixel."""
    shift = lambda x: jnp.roll(x, (1, 1), (1, 2))
    figure, axes = plt.subplots(
        3, len(functions) + 1, figsize=(1.7 * (len(functions) + 1), 5.6), layout="constrained"
    )
    rows = [("clean", clean), ("noisy", noisy)]
    for axis, (title, image) in zip(axes[:, 0], rows, strict=False):
        axis.imshow(image[0, ..., 0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=9)
    for column, (name, f) in zip(axes[:, 1:].T, functions.items(), strict=True):
        y = jax.jit(f)(noisy)
        changed = jnp.abs(jax.jit(f)(shift(noisy)) - shift(y))[0, ..., 0]
        dark = (jax.jit(f)(noisy / 4) * 4)[0, ..., 0]
        column[0].imshow(y[0, ..., 0], cmap="gray", vmin=0, vmax=1)
        column[0].set_title(name.replace(", ", ",\n"), fontsize=9)
        column[1].imshow(dark, cmap="gray", vmin=0, vmax=1)
        column[1].set_title("at ¼ exposure, × 4", fontsize=8)
        column[2].imshow(255 * changed, cmap="magma", vmin=0, vmax=16)
        column[2].set_title(f"largest {255 * float(changed.max()):.2g}", fontsize=8)
    axes[2, 0].text(
        0.5, 0.5, "change when the\npatch is rolled\nby one pixel,\nof 255 grays\n(white: 16)",
        ha="center", va="center", fontsize=9,
    )  # fmt: skip
    for axis in axes.ravel():
        axis.axis("off")
    figure.savefig(out / "patches.png", dpi=110)
    plt.close(figure)


def draw_bars(results: dict[str, dict[str, float]], out: Path) -> None:
    """Circular shifts and crops side by side."""
    figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
    place = np.arange(len(results))
    for number, (key, label) in enumerate(
        (
            ("circular_mean", "circular shifts"),
            ("crop_mean", "crops: new content at the border"),
            ("translation_worst", "parts of a pixel (worst)"),
            ("exposure_worst", "exposure a·x + b (worst)"),
        )
    ):
        values = [max(row[key], 1e-9) for row in results.values()]
        axis.bar(place + 0.2 * number - 0.3, values, 0.2, label=label)
    axis.set_yscale("log")
    axis.set_ylim(1e-8, 30)
    axis.axhline(1e-5, color="black", linewidth=0.8, linestyle=":")
    axis.text(len(results) - 0.45, 1.2e-5, "rounding", fontsize=8, ha="right")
    axis.set_xticks(place, [name.replace(", ", ",\n") for name in results])
    axis.set_ylabel("relative error")
    axis.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.2), frameon=False)
    figure.savefig(out / "errors.png", dpi=110)
    plt.close(figure)
